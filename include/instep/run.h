// instep::Run: what a user's training program holds.
//
//   instep::Run run(argc, argv);
//   torch::nn::Linear model(784, 10);                     // after Run, which seeds libtorch
//   torch::optim::SGD optimizer(model->parameters(), 0.1);
//   run.share(model, optimizer);
//   for (auto& round : run.rounds(dataset))
//     round.step([&](const instep::Batch& batch) {
//       return torch::cross_entropy_loss(model->forward(batch.data), batch.target);
//     });
//
// docs/library.md shows its use, docs/determinism.md says what equal bits ask of a program.
//
// Alone the program trains on one agent; under `instep run -n 4 -- ./program` on four, with the
// same bits. Settings are those of a job file (docs/job.md): flags `--instep.KEY=VALUE` over the
// environment (INSTEP_SET="KEY=VALUE;…") over the job file that `instep run` was given over
// Defaults here.
//
// Errors that a program cannot mend (bad settings, a lost launcher, a loss that is not a number)
// end the process with one line on stderr and exit code 2 (1 if the fault is not the user's);
// nothing throws. Threads: one Run a process, used from the thread that made it; that thread calls
// the closures.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "instep/dataset.h"
#include "instep/losses.h"

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace instep {

// The samples of one shard in one round.
struct Batch {
  at::Tensor data;    // [samples, …] float32, or [samples, tokens] int64
  at::Tensor target;  // [samples] int64 classes, [samples, …] float32, or [samples, tokens] int64
  std::span<const std::uint64_t> samples;  // their numbers in the dataset
  std::uint32_t shard = 0;
  std::uint64_t round = 0;
};

// A program's own defaults; a job file or a flag wins over them.
struct Defaults {
  std::int64_t epochs = 1, batch = 64, shards = 8;
  std::uint64_t seed = 1;
  double clip_norm = 0;  // 0: no clipping by the gradient's global norm
};

struct RoundInfo {
  std::uint64_t round = 0;   // rounds done
  double data_epoch = 0;     // epochs of data done
  double loss = 0;           // mean over the round's samples
  double gradient_norm = 0;  // 0 unless the job clips or stops by it
  std::uint64_t samples = 0;
};
struct EpochInfo {
  std::uint64_t data_epoch = 0;  // epochs of data done
  std::uint64_t round = 0;
  double train_loss = 0;  // mean over the epoch's samples, as they were trained on
  // A callback may add metrics by name ("validation_loss", "test_accuracy", …): they are shown,
  // logged, kept in the history and judged by the job's stop rules. Every agent must add the same.
  std::map<std::string, double> metrics;
  // A callback may set these too, and again every agent the same, by what all of them know. Not
  // empty: training ends after this epoch, for this reason.
  std::string stop;
  // Multiplies every learning rate from here on, beside the job's schedule; as it was last set, in
  // a resumed run too.
  double lr_factor = 1;
};
struct EventInfo {
  std::uint64_t round = 0;
  std::string kind, reason;
};
struct CheckpointInfo {
  std::uint64_t round = 0;
  std::string folder;
};

// What an evaluation adds up: a batch's mean loss and how many of it are right.
struct Score {
  double loss = 0;
  std::int64_t correct = 0;
};
struct Evaluation {
  double loss = 0, accuracy = 0;
  std::uint64_t samples = 0;
};

class Run;

// One round of training, handed out by the loop over Run::rounds().
class Round {
 public:
  std::uint64_t number() const;
  std::uint64_t data_epoch() const;  // the epoch of data under way, from 0
  // Computes this agent's shards, each with one call of `loss` and its backward(), exchanges,
  // updates. The closure returns the mean loss over the batch's samples as a scalar; it may be
  // called again for the same shard, so it must depend on nothing but the parameters, the batch and
  // libtorch's random numbers. Returns the mean loss over all samples of the round, the same on
  // every agent.
  double step(const std::function<at::Tensor(const Batch&)>& loss);

 private:
  friend class Run;
  explicit Round(Run& run) : run_(&run) {}
  Run* run_;
};

class Rounds {
 public:
  class Iterator {
   public:
    explicit Iterator(Run* run) : run_(run) {}
    Round& operator*() const;
    Iterator& operator++() { return *this; }
    // Whether another round is due; every agent decides alike.
    bool operator!=(const Iterator& end) const;

   private:
    Run* run_;
  };
  Iterator begin() const { return Iterator(run_); }
  Iterator end() const { return Iterator(nullptr); }

 private:
  friend class Run;
  explicit Rounds(Run* run) : run_(run) {}
  Run* run_;
};

class Run {
 public:
  Run(int argc, char** argv, const Defaults& defaults = {});
  ~Run();  // finishes the run: last checkpoint, report
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  int agent() const;   // this process's number, from 0
  int agents() const;  // of the view, known after share()
  // Whether this process is the one that prints: the lowest agent.
  bool lead() const;

  // Hands over a module and the optimizer of its parameters. From here on the parameters are held
  // once a host and are read-only: they change by rounds alone. SGD, Adam and AdamW are stepped by
  // the slices' owners; any other optimizer gets the combined gradient and steps on every agent.
  void share(torch::nn::Module& module, torch::optim::Optimizer& optimizer);
  // The same for a module holder or a shared_ptr of a module.
  template <class Holder>
  requires requires(Holder& holder) { static_cast<torch::nn::Module&>(*holder); }
  void share(Holder& holder, torch::optim::Optimizer& optimizer) {
    share(static_cast<torch::nn::Module&>(*holder), optimizer);
  }

  // The training loop: all rounds that are due, from where a resumed run stands. The sampled order,
  // the shards and the number of rounds follow from the job.
  Rounds rounds(const Dataset& train);
  // Only the samples of these numbers: a split of the dataset.
  Rounds rounds(const Dataset& train, std::vector<std::uint64_t> samples);

  // Splits the samples over the agents; the result is the same for any number of them.
  Evaluation evaluate(const Dataset& dataset, const std::function<Score(const Batch&)>& score);
  Evaluation evaluate(const Dataset& dataset, const std::vector<std::uint64_t>& samples,
                      const std::function<Score(const Batch&)>& score);

  // The same with the library's metrics (words of the job's key `metrics`; "top_3" is top-k with
  // that k): `forward` gives a batch's outputs. Metrics that do not fit the loss's outputs end the
  // program. An agent that stands by gets nothing.
  Metrics evaluate(const Dataset& dataset, const std::function<at::Tensor(const Batch&)>& forward,
                   const Loss& loss, const std::vector<std::string>& metrics = {});
  Metrics evaluate(const Dataset& dataset, const std::vector<std::uint64_t>& samples,
                   const std::function<at::Tensor(const Batch&)>& forward, const Loss& loss,
                   const std::vector<std::string>& metrics = {});

  // Callbacks, in the order of their registration, on every agent unless said otherwise.
  void on_round(std::function<void(const RoundInfo&)> call);
  void on_epoch(std::function<void(EpochInfo&)> call);
  void on_event(std::function<void(const EventInfo&)> call);
  // On the lead alone, at the round after the checkpoint became whole.
  void on_checkpoint(std::function<void(const CheckpointInfo&)> call);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  friend class Round;
  friend class Rounds::Iterator;
  std::unique_ptr<Impl> impl_;
  Round round_{*this};
};

}  // namespace instep
