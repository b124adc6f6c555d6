#include "instep/trainer.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/text.h"
#include "train/guarded.h"
#include "train/trainer_impl.h"

namespace instep {
namespace {

constexpr std::int64_t kBatch = 32;  // of a Run that the Trainer makes, as in Keras

// The process's own arguments, for a Run that main() did not make.
std::vector<std::string>& process_arguments() {
  static std::vector<std::string> words = [] {
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
      out.push_back(text.substr(at, text.find('\0', at) - at));
      at += out.back().size() + 1;
    }
    return out;
  }();
  return words;
}

std::unique_ptr<Run> make_run() {
  std::vector<char*> words;
  for (std::string& word : process_arguments()) words.push_back(word.data());
  words.push_back(nullptr);
  return std::make_unique<Run>(static_cast<int>(words.size()) - 1, words.data(),
                               Defaults{.batch = kBatch});
}

// Eval mode while it lives.
class Evaluating {
 public:
  explicit Evaluating(torch::nn::Module& module)
      : module_(module), training_(module.is_training()) {
    module_.eval();
  }
  ~Evaluating() { module_.train(training_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  torch::nn::Module& module_;
  const bool training_;
};

// "validation_loss" is "val_loss" in a history.
Metrics logs_of(double train_loss, const std::map<std::string, double>& metrics) {
  constexpr std::string_view kSet = "validation_";
  Metrics out{{"loss", train_loss}};
  for (const auto& [name, value] : metrics) {
    out[name.rfind(kSet, 0) == 0 ? "val_" + name.substr(kSet.size()) : name] = value;
  }
  return out;
}

}  // namespace

Trainer::Impl::Impl(torch::nn::Module& model, Forward call, torch::optim::Optimizer& steps,
                    Loss mean, std::vector<std::string> names)
    : module(model),
      forward(std::move(call)),
      optimizer(steps),
      loss(std::move(mean)),
      metrics(std::move(names)),
      own(train::current_run() == nullptr ? make_run() : nullptr),
      run(train::current_run()) {
  if (!loss.train) fail("the Trainer has no loss; take one of instep::losses or a callable");
  auto found = train::metric_spec(loss, metrics, inner().job.top_k);
  if (!found.ok()) fail(found.error().message);
  spec = found.take();
}

void Trainer::Impl::fail(std::string message) const {
  inner().session->fail(invalid(std::move(message)));
}

Metrics Trainer::Impl::measure(const Dataset& dataset, const std::vector<std::uint64_t>& samples) {
  const Evaluating mode(module);
  return inner().measure(
      dataset.table(), samples, spec, [this](const Batch& batch) { return forward(batch.data); },
      loss.measure ? loss.measure : loss.train);
}

std::map<std::string, double> Trainer::Impl::measure_sets() {
  fabric::AgentStatus& status = inner().session->words().status;
  status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kEvaluating));
  std::map<std::string, double> out;
  const auto add = [&](const char* set, const Dataset& dataset,
                       const std::vector<std::uint64_t>& samples) {
    for (const auto& [name, value] : measure(dataset, samples)) out[cat(set, "_", name)] = value;
  };
  validation ? add("validation", *validation, data::first_samples(validation->size()))
             : add("validation", *train, parts.validation);
  add("test", *train, parts.test);
  status.state.store(static_cast<std::uint32_t>(fabric::AgentState::kTraining));
  return out;
}

void Trainer::Impl::end_epoch(EpochInfo& info) {
  const bool last = info.data_epoch == static_cast<std::uint64_t>(inner().job.epochs);
  if (inner().job.evaluate_each_epoch || last) info.metrics = measure_sets();
  EpochEnd end{info.data_epoch, logs_of(info.train_loss, info.metrics), false, info.lr_factor, ""};
  for (const auto& callback : callbacks) callback->on_epoch_end(end);
  info.lr_factor = end.lr_factor;
  info.stop = end.stop;
  keep_best(info.round);
}

// A resumed run: callbacks hear of the epochs that were done before.
void Trainer::Impl::tell_again() {
  double factor = 1;
  for (const train::EpochRecord& epoch : inner().loop->progress().epochs) {
    EpochEnd end{epoch.data_epoch, logs_of(epoch.train_loss, epoch.metrics), true, factor, ""};
    for (const auto& callback : callbacks) callback->on_epoch_end(end);
    factor = epoch.lr_factor;
    keep_best(epoch.round);
  }
}

History Trainer::Impl::history() const {
  History out;
  for (const train::EpochRecord& epoch : inner().loop->progress().epochs) {
    out.epochs.push_back(logs_of(epoch.train_loss, epoch.metrics));
  }
  out.stopped = inner().loop->stopped();
  return out;
}

Trainer::Trainer(torch::nn::Module& module, Forward forward, torch::optim::Optimizer& optimizer,
                 Loss loss, std::vector<std::string> metrics)
    : impl_(std::make_shared<Impl>(module, std::move(forward), optimizer, std::move(loss),
                                   std::move(metrics))) {}

Trainer::~Trainer() = default;

Run& Trainer::run() { return *impl_->run; }

History Trainer::fit(const Dataset& train, const FitOptions& options) {
  const std::shared_ptr<Impl> impl = impl_;
  Run::Impl& inner = impl->inner();
  train::Session& session = *inner.session;
  if (inner.engine != nullptr) {
    impl->fail(
        "fit() trains once in a process, and its Run has a module already; call it once, with all "
        "the epochs, and read what it returns");
  }
  impl->take_options(options);
  impl->take_data(train, options);
  impl->take_callbacks(options);
  inner.callbacks.quiet = !options.verbose;
  impl->run->share(impl->module, impl->optimizer);
  // The callbacks of a Run outlive a Trainer that does not own it.
  Impl* const own = impl.get();
  impl->run->on_epoch(
      [own, keep = impl->own ? nullptr : impl](EpochInfo& info) { own->end_epoch(info); });
  impl->run->on_round([own](const RoundInfo& info) {
    for (const auto& callback : own->callbacks) callback->on_round_end(info);
  });
  const bool was_training = impl->module.is_training();
  impl->module.train();
  const Rounds rounds = impl->run->rounds(*impl->train, impl->parts.train);
  if (inner.engine->spare()) return {};
  train::guarded(
      session,
      [&] {
        for (const auto& callback : impl->callbacks) callback->on_train_begin();
        impl->tell_again();
      },
      [] { return "a callback failed before training"; });
  for (Round& round : rounds) {
    round.step([own](const Batch& batch) {
      return own->loss.train(own->forward(batch.data), batch.target);
    });
  }
  if (inner.loop->wants_measuring()) inner.loop->set_final_metrics(impl->measure_sets());
  impl->module.train(was_training);
  impl->restore_best();
  impl->fitted = true;
  History history = impl->history();
  train::guarded(
      session,
      [&] {
        for (const auto& callback : impl->callbacks) callback->on_train_end(history);
      },
      [] { return "a callback failed after training"; });
  return history;
}

Metrics Trainer::evaluate(const Dataset& test) {
  Metrics found = impl_->measure(test, data::first_samples(test.size()));
  Run::Impl& inner = impl_->inner();
  if (impl_->fitted && !inner.engine->spare()) {
    std::map<std::string, double> all = inner.loop->final_metrics();
    for (const auto& [name, value] : found) all[cat("test_", name)] = value;
    inner.loop->set_final_metrics(std::move(all));
  }
  return found;
}

at::Tensor Trainer::predict(const at::Tensor& x) {
  if (x.dim() < 1 || x.size(0) == 0) impl_->fail("predict() needs samples, [n, …] with n above 0");
  const auto step = impl_->inner().job.eval_batch;
  return train::guarded(
      *impl_->inner().session,
      [&] {
        const Evaluating mode(impl_->module);
        const WithAverage average(impl_->inner());
        const at::NoGradGuard guard;
        std::vector<at::Tensor> out;
        for (std::int64_t begin = 0; begin < x.size(0); begin += step) {
          out.push_back(impl_->forward(x.slice(0, begin, std::min(begin + step, x.size(0)))));
        }
        return at::cat(out);
      },
      [] { return "the prediction failed"; });
}

void Trainer::summary(std::FILE* out) const {
  if (!impl_->run->lead()) return;
  const std::string text = train::describe(impl_->module);
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
}

}  // namespace instep
