// instep::Trainer: training as Keras users know it, on any number of agents.
//
//   instep::Run run(argc, argv);                        // first, so that it seeds the weights
//   torch::nn::Sequential net(torch::nn::Linear(10, 10), torch::nn::ReLU(), …);
//   torch::optim::Adam adam(net->parameters(), 0.01);
//   instep::Trainer trainer{net, adam, instep::losses::bce_with_logits(), {"accuracy", "auc"}};
//   std::cout << trainer.fit(train, {.epochs = 10, .batch = 32, .validation_split = 0.2});
//   trainer.evaluate(test);
//
// docs/library.md shows its use. It stands on the process's Run, and makes one of its own if the
// program made none. Whatever it decides follows from what every agent knows, so that the bits do
// not depend on the number of agents, and a resumed run decides as a straight one. Every agent
// makes the same calls in the same order. Errors and threads: see instep/run.h.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "instep/run.h"

namespace instep {

// The epochs of data done, in a resumed run the ones before too. Names as in Keras: "loss" (of
// training), "val_loss", "val_accuracy", …
struct History {
  std::vector<Metrics> epochs;
  std::string stopped;  // why training ended before its last epoch; empty if it did not

  // One value an epoch; NaN where an epoch has none of that name.
  std::vector<double> of(const std::string& name) const;
};
std::string to_text(const History& history);  // a table, a line for each epoch
std::string to_text(const Metrics& metrics);  // "loss 0.07, accuracy 0.978"
std::ostream& operator<<(std::ostream& out, const History& history);

// What callbacks are told after an epoch of data, and may decide.
struct EpochEnd {
  std::uint64_t epoch = 0;  // epochs done
  Metrics logs;             // as in History
  bool again = false;       // told again after a resume: decisions are not asked for any more
  double lr_factor = 1;     // of every learning rate; set it for the epochs to come
  std::string stop;         // set it to a reason, and training ends
};

// A program's own callback. It is called on every agent and must decide by what it is told alone,
// never by clocks or by other sources of chance: all agents have to decide alike. After a resume
// the epochs before are told again, in order, so that it comes to the state that it had.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_train_begin() {}
  virtual void on_round_end(const RoundInfo& /*round*/) {}
  virtual void on_epoch_end(EpochEnd& /*epoch*/) {}
  virtual void on_train_end(const History& /*history*/) {}
};

// Ends training when the monitored value has not improved by more than min_delta for `patience`
// epochs. restore_best: the model then has, for evaluate() and predict(), the weights of its best
// epoch; the checkpoint and the hashes of the report are of where training ended.
struct EarlyStopping {
  std::string monitor = "val_loss";
  std::int64_t patience = 0;
  double min_delta = 0;
  bool restore_best = false;
};
// Multiplies every learning rate by `factor` after `patience` epochs without an improvement by more
// than min_delta; the first group's rate does not fall below min_lr, nor the others' in proportion.
struct ReduceLROnPlateau {
  std::string monitor = "val_loss";
  double factor = 0.1;
  std::int64_t patience = 10;
  double min_lr = 0;
  double min_delta = 1e-4;
};
// Which checkpoints a run keeps: the newest and the best. `folder`: where a program that runs alone
// writes them; under `instep run` they lie in the run's directory.
struct ModelCheckpoint {
  std::string monitor = "val_loss";
  std::int64_t every_epochs = 1, every_rounds = 0;  // 0: not by that
  std::int64_t keep_last = 2, keep_best = 1;
  std::string folder = {};
};
struct LambdaCallback {
  std::function<void()> on_train_begin = {};
  std::function<void(const RoundInfo&)> on_round_end = {};
  std::function<void(EpochEnd&)> on_epoch_end = {};
  std::function<void(const History&)> on_train_end = {};
};

// Any of them, or a class derived from Callback, by value or shared.
class AnyCallback {
 public:
  using Held =
      std::variant<EarlyStopping, ReduceLROnPlateau, ModelCheckpoint, std::shared_ptr<Callback>>;

  // NOLINTBEGIN(google-explicit-constructor)
  AnyCallback(EarlyStopping options) : held_(std::move(options)) {}
  AnyCallback(ReduceLROnPlateau options) : held_(std::move(options)) {}
  AnyCallback(ModelCheckpoint options) : held_(std::move(options)) {}
  AnyCallback(LambdaCallback calls);
  template <std::derived_from<Callback> Own>
  AnyCallback(Own own) : held_(std::make_shared<Own>(std::move(own))) {}
  template <std::derived_from<Callback> Own>
  AnyCallback(std::shared_ptr<Own> own) : held_(std::shared_ptr<Callback>(std::move(own))) {}
  // NOLINTEND(google-explicit-constructor)

  const Held& held() const { return held_; }

 private:
  Held held_;
};

// Defaults of the job: what a job file or a flag says wins over what is set here, and that over
// what the program gave to Run.
struct FitOptions {
  std::optional<std::int64_t> epochs = {}, batch = {}, shards = {};
  std::optional<double> clip_norm = {};
  double validation_split = 0;          // this part of the samples, chosen by the seed, is kept out
  const Dataset* validation = nullptr;  // instead of a split
  bool verbose = true;                  // alone: a line for each epoch on standard error
  std::vector<AnyCallback> callbacks = {};
};

class Trainer {
 public:
  using Forward = std::function<at::Tensor(const at::Tensor&)>;

  // `model`: a module holder or shared_ptr whose forward takes a tensor and returns one. `loss`: of
  // instep::losses, or any callable. `metrics`: see Run::evaluate. Model and optimizer outlive the
  // Trainer.
  template <class Model>
  requires requires(Model& model, const at::Tensor& x) {
    { model->forward(x) } -> std::convertible_to<at::Tensor>;
  }
  Trainer(Model& model, torch::optim::Optimizer& optimizer, Loss loss,
          std::vector<std::string> metrics = {})
      : Trainer(
            static_cast<torch::nn::Module&>(*model),
            [model](const at::Tensor& x) mutable { return at::Tensor(model->forward(x)); },
            optimizer, std::move(loss), std::move(metrics)) {}
  // The same for a module whose forward is called in another way.
  Trainer(torch::nn::Module& module, Forward forward, torch::optim::Optimizer& optimizer, Loss loss,
          std::vector<std::string> metrics = {});
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Trains, once a process: a second call ends the program. On an agent that stands by it returns
  // at once, without epochs.
  History fit(const Dataset& train, const FitOptions& options = {});

  // The loss and the metrics over a dataset, in eval mode, its samples split over the agents. After
  // fit() the report has them as those of the test set.
  Metrics evaluate(const Dataset& test);

  // The outputs for [n, …], in eval mode and in batches; every agent computes them by itself.
  at::Tensor predict(const at::Tensor& x);

  // A table of the layers and their parameters; the lead agent prints it.
  void summary(std::FILE* out = stdout) const;

  Run& run();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace instep
