// What only the whole job shows.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "job/apply.h"
#include "job/keys.h"

namespace instep::job {
namespace {

// 16 GiB of values: more is a slip, and no machine of ours should try.
constexpr std::int64_t kMaxSyntheticValues = std::int64_t{1} << 32;

using Maybe = std::optional<Fault>;

Maybe out_of_range(Job& job) {
  const std::size_t groups = job.optimizer.groups.size();
  if (groups > kMaxGroups) {
    return Fault{{std::string(kGroupKey)},
                 cat("found ", groups, " groups; allowed: at most ", kMaxGroups)};
  }
  for (const Key& key : keys()) {
    const std::size_t count = is_group_key(key) ? groups : 1;
    for (std::size_t group = 0; group < count; ++group) {
      const Value value = value_of(key.at(job, group));
      if (fits(key, value)) continue;
      std::string name(key.name);
      if (is_group_key(key)) name.insert(name.find(']'), cat(group));
      return Fault{{name}, cat("found ", describe(value), "; allowed: ", allowed_text(key))};
    }
  }
  return {};
}

Maybe shape_fault(const Job& job) {
  if (job.batch < job.shards) {
    return Fault{{"batch", "shards"},
                 cat("found ", job.batch, " with ", job.shards,
                     " shards; allowed: at least one sample "
                     "a shard; make batch larger or shards fewer")};
  }
  const std::int64_t in_a_shard = (job.batch + job.shards - 1) / job.shards;
  if (job.accumulate > in_a_shard) {
    return Fault{{"accumulate", "batch", "shards"},
                 cat("found ", job.accumulate, " parts of a shard's ", in_a_shard,
                     in_a_shard == 1 ? " sample" : " samples", "; a part has at least one")};
  }
  return {};
}

Maybe codec_fault(const Job& job) {
  if (job.codec.nodes > job.shards) {
    return Fault{{"codec.nodes", "shards"},
                 cat("found ", job.codec.nodes, " nodes of a tree of ", job.shards,
                     " shards; allowed: at most one a shard")};
  }
  constexpr std::int64_t kMost = 1024;
  if (job.codec.kind != CodecKind::kNone && job.codec.nodes == 0 && job.shards > kMost) {
    return Fault{{"codec.nodes", "codec.kind", "shards"},
                 cat("found ", job.shards, " shards, each to be encoded; allowed: at most ", kMost,
                     "; set codec.nodes")};
  }
  return {};
}

Maybe model_fault(const Job& job) {
  const Model& model = job.model;
  const bool stacked = model.kind == "gpt" || model.kind == "lstm";
  if (!model.layers.empty() && !stacked && model.kind != "mlp") {
    return Fault{{"model.layers", "model.kind"},
                 "these need model.kind = \"mlp\", \"gpt\" or \"lstm\""};
  }
  if (stacked && model.layers.size() != 1) {
    return Fault{{"model.layers", "model.kind"},
                 cat("found ", model.layers.size(), " numbers; ", model.kind,
                     " takes one: how many layers it has")};
  }
  if (model.kind == "gpt" && model.width % model.heads != 0) {
    return Fault{{"model.width", "model.heads"},
                 cat("found ", model.width, ", which ", model.heads, " heads cannot share evenly")};
  }
  if (model.kind == "gpt" && job.data.context > model.context) {
    return Fault{{"data.context", "model.context"},
                 cat("found samples of ", job.data.context, " tokens; the model looks back on ",
                     model.context, " (model.context)")};
  }
  if ((model.kind == "torchscript") == model.file.empty()) {
    return Fault{{"model.file", "model.kind"},
                 model.file.empty()
                     ? "torchscript needs the file that torch.jit.save wrote"
                     : "only model.kind = \"torchscript\" loads a file of this kind; "
                       "model.init takes weights"};
  }
  const std::string& digest = model.file_sha256;
  if (!digest.empty() && (model.kind != "torchscript" || digest.size() != 64 ||
                          digest.find_first_not_of("0123456789abcdef") != std::string::npos)) {
    return Fault{{"model.file_sha256", "model.kind"},
                 model.kind != "torchscript"
                     ? "only model.kind = \"torchscript\" has a file to compare it with"
                     : cat("found ", digest,
                           "; allowed: 64 hexadecimal digits in lower case, as sha256sum prints")};
  }
  if (model.kind == "mlp" && model.layers.size() < 2) {
    return Fault{{"model.layers", "model.kind"},
                 cat("found ", model.layers.size(),
                     " layers; an mlp has at least two: inputs and "
                     "outputs, as [784, 64, 10]")};
  }
  const bool classes = job.loss == Loss::kCrossEntropy;
  if (model.kind == "mlp" && classes && model.layers.back() < 2) {
    return Fault{{"model.layers", "loss"},
                 "found 1 output; cross-entropy needs one for each class, at least 2"};
  }
  if (model.kind == "mlp" && classes && job.data.classes > 0 &&
      job.data.classes != model.layers.back()) {
    return Fault{{"model.layers", "data.classes"},
                 cat("found ", model.layers.back(), " outputs for ", job.data.classes, " classes")};
  }
  return {};
}

// Tokens are read by the models for them, and next tokens are classes.
Maybe text_fault(const Job& job) {
  const bool text = job.data.format == DataFormat::kText;
  const Model& model = job.model;
  const bool tokens = model.kind == "gpt" || (model.kind == "lstm" && model.inputs == 0);
  if (text && !tokens && model.kind != "torchscript") {
    return Fault{
        {"data.format", "model.kind", "model.inputs"},
        cat("text is read by gpt, by lstm (with model.inputs = 0) and by torchscript; found ",
            model.kind.empty() ? "no model" : cat("model.kind = ", model.kind))};
  }
  if (tokens && !text && job.data.format != DataFormat::kNone) {
    return Fault{{"data.format", "model.kind", "model.inputs"},
                 cat(model.kind, " reads text; found data.format = ", to_text(job.data.format),
                     model.kind == "lstm" ? "; for sequences of values set model.inputs" : "")};
  }
  if (text && job.loss != Loss::kCrossEntropy) {
    return Fault{{"loss", "data.format"},
                 cat("text is learnt with cross-entropy; found ", to_text(job.loss))};
  }
  if (text && (job.split.stratified || job.partition == PartitionKind::kStratified)) {
    return Fault{{"split.stratified", "partition.strategy", "data.format"},
                 "stratified needs one class a sample; text has none"};
  }
  constexpr std::int64_t kByteValues = 256;
  if (text && tokens && model.vocabulary < kByteValues) {
    return Fault{{"model.vocabulary", "data.format"},
                 cat("found ", model.vocabulary, "; text in bytes has ", kByteValues, " tokens")};
  }
  return {};
}

// Outputs of the job's model; 0 if only libtorch knows.
std::int64_t outputs_of(const Model& model) {
  if (model.kind == "mlp") return model.layers.back();
  if (model.kind == "gpt") return model.vocabulary;
  if (model.kind == "lstm") return model.inputs > 0 ? model.outputs : model.vocabulary;
  return model.kind == "resnet20" ? model.outputs : 0;
}

Maybe metric_fault(const Job& job) {
  for (const std::string& metric : job.metrics) {
    if (fits(metric, job.loss)) continue;
    std::vector<std::string> fitting;
    for (const std::string_view known : kMetricWords) {
      if (fits(known, job.loss)) fitting.emplace_back(known);
    }
    return Fault{{"metrics", "loss"},
                 cat("found ", metric, ", which loss ", to_text(job.loss),
                     " cannot be measured by; allowed with it: ", join(fitting, ", "))};
  }
  const std::int64_t outputs = outputs_of(job.model);
  const bool top = std::find(job.metrics.begin(), job.metrics.end(), "top-k") != job.metrics.end();
  if (top && outputs > 0 && job.top_k >= outputs) {
    return Fault{{"top_k", "metrics"},
                 cat("found ", job.top_k, " for a model of ", outputs,
                     " outputs, where every answer would count; allowed: below ", outputs)};
  }
  if (job.label_smoothing > 0 && job.loss != Loss::kCrossEntropy) {
    return Fault{{"label_smoothing", "loss"},
                 cat("smooths classes, and so needs cross-entropy; found ", to_text(job.loss))};
  }
  return {};
}

Maybe data_fault(const Job& job) {
  const Data& data = job.data;
  const std::string format(to_text(data.format));
  const bool idx = data.format == DataFormat::kIdx;
  const bool csv = data.format == DataFormat::kCsv;
  const bool files = data.format != DataFormat::kNone && data.format != DataFormat::kSynthetic;
  if (files && data.train_samples.empty()) {
    return Fault{
        {"data.train_samples", "data.format"},
        cat(format, " data needs this", data.format == DataFormat::kCifar ? " folder" : " file")};
  }
  if (idx && data.train_targets.empty()) {
    return Fault{{"data.train_targets", "data.format"}, "idx data needs this file"};
  }
  if (idx && data.test_samples.empty() != data.test_targets.empty()) {
    return Fault{{data.test_samples.empty() ? "data.test_samples" : "data.test_targets",
                  data.test_samples.empty() ? "data.test_targets" : "data.test_samples"},
                 "idx data needs both of data.test_samples and data.test_targets, or neither"};
  }
  const bool inside = data.format == DataFormat::kCifar || data.format == DataFormat::kText;
  if (inside && !(data.train_targets.empty() && data.test_targets.empty())) {
    return Fault{{data.train_targets.empty() ? "data.test_targets" : "data.train_targets"},
                 cat(format, " data has its targets in the same file")};
  }
  if (csv && !(data.train_targets.empty() && data.test_targets.empty())) {
    return Fault{{data.train_targets.empty() ? "data.test_targets" : "data.train_targets"},
                 "csv data has its targets in a column (data.target_column), not in a file"};
  }
  if (data.format != DataFormat::kSynthetic) return {};
  constexpr std::size_t kMaxDimensions = 8;
  if (data.shape.size() > kMaxDimensions) {
    return Fault{
        {"data.shape"},
        cat("found ", data.shape.size(), " dimensions; allowed: at most ", kMaxDimensions)};
  }
  const std::int64_t samples = data.samples + data.test_samples_count;
  std::int64_t values = data.shape.empty() ? data.features : 1;
  for (const std::int64_t extent : data.shape) {
    values = std::min(kMaxSyntheticValues, values) * extent;
  }
  if (samples > kMaxSyntheticValues / values) {
    return Fault{{"data.samples", "data.features", "data.shape", "data.test_samples_count"},
                 cat("found ", samples, " samples of ", values, " values; allowed: at most ",
                     kMaxSyntheticValues, " values in all")};
  }
  if (job.model.kind == "mlp" && job.model.layers.front() != values) {
    return Fault{
        {"model.layers", "data.features", "data.shape"},
        cat("found ", job.model.layers.front(), " inputs for samples of ", values, " values")};
  }
  return {};
}

Maybe split_fault(const Job& job) {
  const double held = job.split.validation + job.split.test;
  if (held > 0.9) {
    return Fault{{"split.validation", "split.test"},
                 cat("found ", shortest(held),
                     " with split.test; allowed: at most 0.9 together, the "
                     "rest is trained on")};
  }
  const Data& data = job.data;
  const bool own_test = data.format == DataFormat::kSynthetic
                            ? data.test_samples_count > 0
                            : data.format != DataFormat::kNone && !data.test_samples.empty();
  if (job.split.test > 0 && own_test) {
    return Fault{{"split.test", "data.test_samples", "data.test_samples_count"},
                 "the data brings a test set of its own; use one of the two"};
  }
  if (job.loss == Loss::kCrossEntropy) return {};
  if (job.split.stratified) {
    return Fault{{"split.stratified", "loss"},
                 cat("needs classes, and so cross-entropy; found loss ", to_text(job.loss))};
  }
  if (job.partition == PartitionKind::kStratified) {
    return Fault{
        {"partition.strategy", "loss"},
        cat("stratified needs classes, and so cross-entropy; found loss ", to_text(job.loss))};
  }
  return {};
}

Maybe optimizer_fault(const Job& job) {
  const Optimizer& optimizer = job.optimizer;
  const bool nesterov = optimizer.kind == OptimizerKind::kSgd && optimizer.nesterov;
  if (nesterov && (optimizer.momentum <= 0 || optimizer.dampening != 0)) {
    return Fault{{"optimizer.nesterov", "optimizer.momentum", "optimizer.dampening"},
                 "Nesterov needs optimizer.momentum above 0 and no dampening"};
  }
  for (std::size_t i = 0; i < optimizer.groups.size(); ++i) {
    const OptimizerGroup& group = optimizer.groups[i];
    const std::string prefix = cat(kGroupKey, "[", i, "].");
    if (group.match.empty()) {
      return Fault{{prefix + "match", prefix + "lr", prefix + "weight_decay", prefix + "momentum"},
                   "each group needs a pattern of parameter names, as \"*.bias\""};
    }
    if (nesterov && group.momentum && *group.momentum <= 0) {
      return Fault{{prefix + "momentum", "optimizer.nesterov"}, "Nesterov needs it above 0"};
    }
  }
  return {};
}

Maybe stop_fault(const Job& job) {
  const bool plateau = job.schedule.kind == ScheduleKind::kPlateau;
  if (plateau && !job.evaluate_each_epoch) {
    return Fault{{"evaluate_each_epoch", "schedule.kind"},
                 "schedule.kind = \"plateau\" judges every epoch of data, so it needs true"};
  }
  if (plateau && job.schedule.gamma >= 1) {
    return Fault{{"schedule.gamma", "schedule.kind"},
                 cat("found ", shortest(job.schedule.gamma),
                     "; at a plateau the learning rate falls: allowed below 1")};
  }
  const bool used = job.stop.target.has_value() || job.stop.patience_epochs > 0 || plateau;
  const std::string& metric = job.stop.metric;
  if (!used || metric == "loss") return {};
  const std::vector<std::string> keys = {"stop.metric", "stop.target", "stop.patience_epochs",
                                         "schedule.kind"};
  if (!fits(metric, job.loss)) {
    return Fault{keys, cat(to_text(job.loss), " has no ", metric, "; allowed: loss",
                           job.metrics.empty() ? "" : ", ", join(job.metrics, ", "))};
  }
  const bool measured =
      std::find(job.metrics.begin(), job.metrics.end(), metric) != job.metrics.end();
  if (!measured && !job.model.kind.empty()) {
    return Fault{keys, cat("found ", metric, ", which is not measured; add it to metrics")};
  }
  return {};
}

}  // namespace

std::optional<Fault> find_fault(const Job& job) {
  Job copy = job;
  if (Maybe fault = out_of_range(copy)) return fault;
  for (const auto judge : {shape_fault, codec_fault, model_fault, text_fault, data_fault,
                           metric_fault, split_fault, optimizer_fault, stop_fault}) {
    if (Maybe fault = judge(job)) return fault;
  }
  return {};
}

Status validate(const Job& job) {
  const std::optional<Fault> fault = find_fault(job);
  if (!fault) return {};
  return invalid(cat("job: ", fault->keys.front(), ": ", fault->message));
}

}  // namespace instep::job
