// What fit() makes of its options: the job's defaults, the sets, the callbacks, the best weights.
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "store/checkpoint.h"
#include "store/safetensors.h"
#include "train/batches.h"
#include "train/tensors.h"
#include "train/trainer_impl.h"

namespace instep {
namespace {

class LambdaCalls : public Callback {
 public:
  explicit LambdaCalls(LambdaCallback calls) : calls_(std::move(calls)) {}
  void on_train_begin() override {
    if (calls_.on_train_begin) calls_.on_train_begin();
  }
  void on_round_end(const RoundInfo& round) override {
    if (calls_.on_round_end) calls_.on_round_end(round);
  }
  void on_epoch_end(EpochEnd& epoch) override {
    if (calls_.on_epoch_end) calls_.on_epoch_end(epoch);
  }
  void on_train_end(const History& history) override {
    if (calls_.on_train_end) calls_.on_train_end(history);
  }

 private:
  const LambdaCallback calls_;
};

job::Loss job_loss(const Loss& loss) {
  switch (loss.outputs) {
    case Outputs::kClasses:
      return job::Loss::kCrossEntropy;
    case Outputs::kLogits:
    case Outputs::kProbabilities:
      return job::Loss::kBce;
    case Outputs::kUnknown:
    case Outputs::kValues:
      return loss.huber_delta > 0 ? job::Loss::kHuber : job::Loss::kMse;
  }
  return job::Loss::kMse;
}

// Defaults for keys that nobody has given.
class Defaulting {
 public:
  explicit Defaulting(Run::Impl& run) : run_(run) {}
  template <class Value>
  void set(const char* key, Value& to, const std::optional<Value>& value) const {
    const auto given = [key](const std::string& one) { return one == key; };
    if (value && std::none_of(run_.given.begin(), run_.given.end(), given)) to = *value;
  }

 private:
  Run::Impl& run_;
};

}  // namespace

AnyCallback::AnyCallback(LambdaCallback calls)
    : held_(std::shared_ptr<Callback>(std::make_shared<LambdaCalls>(std::move(calls)))) {}

// The job of a resumed run is whole: the checkpoint's.
void Trainer::Impl::take_options(const FitOptions& options) {
  job::Job& job = inner().job;
  if (!inner().job_is_whole) {
    const Defaulting defaults(inner());
    defaults.set("epochs", job.epochs, options.epochs);
    defaults.set("batch", job.batch, options.batch);
    defaults.set("shards", job.shards, options.shards);
    defaults.set("optimizer.clip_norm", job.optimizer.clip_norm, options.clip_norm);
    defaults.set<double>("split.validation", job.split.validation, options.validation_split);
    defaults.set<std::int64_t>("top_k", job.top_k, spec.top_k);
    defaults.set<std::vector<std::string>>("metrics", job.metrics, spec.metrics);
    // What is computed comes from the program.
    job.loss = job_loss(loss);
    job.label_smoothing = loss.label_smoothing;
    if (loss.huber_delta > 0) job.huber_delta = loss.huber_delta;
    std::string judged = "accuracy";
    if (std::find(job.metrics.begin(), job.metrics.end(), judged) == job.metrics.end()) {
      judged = "loss";
    }
    for (const AnyCallback& callback : options.callbacks) {
      if (const auto* early = std::get_if<EarlyStopping>(&callback.held())) {
        // The best weights are those of a checkpoint that is kept, for a run that is resumed.
        if (early->restore_best) judged = train::judged_word(early->monitor);
      }
      const auto* kept = std::get_if<ModelCheckpoint>(&callback.held());
      if (kept == nullptr) continue;
      judged = train::judged_word(kept->monitor);
      defaults.set<std::int64_t>("checkpoint.every_epochs", job.checkpoint.every_epochs,
                                 kept->every_epochs);
      defaults.set<std::int64_t>("checkpoint.every_rounds", job.checkpoint.every_rounds,
                                 kept->every_rounds);
      defaults.set<std::int64_t>("checkpoint.keep_last", job.checkpoint.keep_last, kept->keep_last);
      defaults.set<std::int64_t>("checkpoint.keep_best", job.checkpoint.keep_best, kept->keep_best);
    }
    if (!judged.empty()) defaults.set<std::string>("stop.metric", job.stop.metric, judged);
    if (const Status valid = job::validate(job); !valid.ok()) fail(valid.error().message);
  }
  spec.metrics = job.metrics;
  spec.top_k = job.top_k;
  if (const Status measurable = train::check_metrics(spec); !measurable.ok()) {
    fail(measurable.error().message);
  }
}

void Trainer::Impl::take_data(const Dataset& samples, const FitOptions& options) {
  const job::Job& job = inner().job;
  train = samples;
  job::Split split = job.split;
  if (options.validation != nullptr) {
    validation = *options.validation;
    split.validation = 0;
  }
  const data::Table& table = samples.table();
  const auto classes = table.class_span();
  if (split.stratified && classes.empty()) {
    fail("split.stratified needs targets that are class numbers, and these are not");
  }
  parts = data::split(table.size, classes, split, job.seed);
}

void Trainer::Impl::check_monitor(const std::string& callback, const std::string& monitor) const {
  std::vector<std::string> names = {"loss"};
  const auto add = [&](const char* set) {
    names.push_back(cat(set, "loss"));
    for (const std::string& metric : spec.metrics) {
      names.push_back(cat(set, train::metric_name(metric, spec.top_k)));
    }
  };
  if (validation || !parts.validation.empty()) add("val_");
  if (!parts.test.empty()) add("test_");
  if (std::find(names.begin(), names.end(), monitor) != names.end()) return;
  fail(cat(callback, " monitors ", monitor, ", which no epoch will have; there ",
           names.size() == 1 ? "is " : "are ", join(names, ", "),
           names.size() == 1 ? "; give fit() a validation_split or a validation set" : ""));
}

void Trainer::Impl::take_callbacks(const FitOptions& options) {
  const double lr =
      optimizer.param_groups().empty() ? 0 : optimizer.param_groups().front().options().get_lr();
  for (const AnyCallback& callback : options.callbacks) {
    if (const auto* early = std::get_if<EarlyStopping>(&callback.held())) {
      check_monitor("EarlyStopping", early->monitor);
      stops.push_back(std::make_shared<train::EarlyStop>(*early));
      callbacks.push_back(stops.back());
    } else if (const auto* reduce = std::get_if<ReduceLROnPlateau>(&callback.held())) {
      check_monitor("ReduceLROnPlateau", reduce->monitor);
      if (!(reduce->factor > 0 && reduce->factor < 1)) {
        fail(cat("ReduceLROnPlateau's factor is ", reduce->factor, "; it is above 0 and below 1"));
      }
      callbacks.push_back(std::make_shared<train::ReduceRate>(*reduce, lr));
    } else if (const auto* kept = std::get_if<ModelCheckpoint>(&callback.held())) {
      check_monitor("ModelCheckpoint", kept->monitor);
      if (train::judged_word(kept->monitor).empty()) {
        fail(cat("ModelCheckpoint monitors ", kept->monitor,
                 "; the best checkpoints are told by a value of the validation set, as val_loss"));
      }
      if (!kept->folder.empty()) inner().use_run_dir(kept->folder);
    } else {
      callbacks.push_back(std::get<std::shared_ptr<Callback>>(callback.held()));
    }
  }
  const auto restoring =
      std::count_if(stops.begin(), stops.end(), [](const auto& stop) { return stop->restores(); });
  if (restoring > 1) fail("two callbacks restore the best weights; one can");
}

// The weights of an epoch that is the best so far: those of now, or in a resumed run those of the
// checkpoint of that round.
void Trainer::Impl::keep_best(std::uint64_t epoch_round) {
  const bool wanted =
      std::any_of(stops.begin(), stops.end(), [](const auto& stop) { return stop->keeps(); });
  if (!wanted) return;
  if (inner().job.ema.decay > 0) {
    fail(
        "EarlyStopping's restore_best puts weights back, and with ema.decay their average is what "
        "is measured; use one of the two");
  }
  const at::NoGradGuard guard;
  best.clear();
  for (const model::NamedTensor& item : train::tensors_of(module)) {
    best.push_back({item.name, item.tensor.detach().clone()});
  }
  if (epoch_round == inner().engine->round()) return;
  const auto folder = store::checkpoint_folder(inner().run_dir, epoch_round);
  const auto found = store::open_checkpoint(folder);
  const auto path = folder / "model.safetensors";
  if (found.ok()) {
    auto file = store::SafetensorsFile::open(path);
    if (file.ok() && train::load_into(best, *file, path).ok()) return;
  }
  best.clear();  // perhaps a later epoch is better; else restore_best() says what is missing
}

void Trainer::Impl::restore_best() {
  const bool wanted =
      std::any_of(stops.begin(), stops.end(), [](const auto& stop) { return stop->restores(); });
  if (!wanted || inner().loop->progress().epochs.empty()) return;
  if (best.empty()) {
    log(LogLevel::kWarning,
        "the checkpoint of the best epoch is not there any more, so the model keeps its newest "
        "weights; set checkpoint.every_epochs = 1 and checkpoint.keep_best to at least 1");
    return;
  }
  const std::vector<model::NamedTensor> weights = train::tensors_of(module);
  std::vector<at::Tensor> last;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    last.push_back(weights[i].tensor.detach());
    at::Tensor(weights[i].tensor).set_data(best[i].tensor);
  }
  // The report is about the state in which training ended, which its last checkpoint has.
  inner().before_report = [weights, last] {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      at::Tensor(weights[i].tensor).set_data(last[i]);
    }
  };
}

}  // namespace instep
