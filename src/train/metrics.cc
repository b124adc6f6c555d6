#include "train/metrics.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "job/words.h"

namespace instep::train {
namespace {

std::optional<job::Loss> loss_like(Outputs outputs) {
  switch (outputs) {
    case Outputs::kUnknown:
      return std::nullopt;
    case Outputs::kClasses:
      return job::Loss::kCrossEntropy;
    case Outputs::kLogits:
    case Outputs::kProbabilities:
      return job::Loss::kBce;
    case Outputs::kValues:
      return job::Loss::kMse;
  }
  return std::nullopt;
}

Outputs outputs_of(job::Loss loss) {
  switch (loss) {
    case job::Loss::kCrossEntropy:
      return Outputs::kClasses;
    case job::Loss::kBce:
      return Outputs::kLogits;
    case job::Loss::kMse:
    case job::Loss::kHuber:
      return Outputs::kValues;
  }
  return Outputs::kUnknown;
}

std::string_view words(Outputs outputs) {
  switch (outputs) {
    case Outputs::kUnknown:
      return "of no said meaning";
    case Outputs::kClasses:
      return "that are scores of classes";
    case Outputs::kLogits:
      return "that are logits of yes or no";
    case Outputs::kProbabilities:
      return "that are probabilities";
    case Outputs::kValues:
      return "that are values";
  }
  return "";
}

Status check_top_k(const MetricSpec& spec, std::int64_t classes) {
  if (spec.top_k < classes) return {};
  return invalid(cat("top_k = ", spec.top_k, " with ", classes,
                     " classes counts every answer as right; set top_k below ", classes,
                     " or leave top-k out of metrics"));
}

Status check_scores(std::uint64_t predictions, std::int64_t columns) {
  if (predictions <= kMostScores / static_cast<std::uint64_t>(std::max<std::int64_t>(columns, 1))) {
    return {};
  }
  return invalid(cat("auc needs all scores of an evaluation at once: ", predictions,
                     " predictions of ", columns, columns == 1 ? " score" : " scores",
                     "; allowed: at most ", kMostScores,
                     " scores; evaluate fewer samples or leave auc out of metrics"));
}

std::int64_t curves_for(Outputs outputs, std::int64_t columns) {
  return outputs == Outputs::kClasses && columns == 2 ? 1 : columns;
}

Error unlike(const at::Tensor& output, const at::Tensor& target) {
  return invalid(cat("outputs of ", output.sizes(), " cannot be measured against targets of ",
                     target.sizes()));
}

}  // namespace

MetricSpec metrics_of(const job::Job& job) {
  return {outputs_of(job.loss), job.metrics, job.top_k, job.loss == job::Loss::kCrossEntropy};
}

Result<MetricSpec> metric_spec(const Loss& loss, const std::vector<std::string>& metrics,
                               std::int64_t top_k) {
  constexpr auto& kKnown = job::kMetricWords;
  constexpr std::int64_t kMostTop = 1000;  // as of the job's key
  MetricSpec spec{loss.outputs, {}, top_k, loss.cross_entropy};
  for (const std::string& metric : metrics) {
    std::int64_t k = 0;
    const char* const end = metric.data() + metric.size();
    if (metric.rfind("top_", 0) == 0 && std::from_chars(metric.data() + 4, end, k).ptr == end &&
        k > 0 && k <= kMostTop) {
      spec.top_k = k;
      spec.metrics.emplace_back("top-k");
      continue;
    }
    if (std::find(kKnown.begin(), kKnown.end(), metric) == kKnown.end()) {
      return invalid(cat("there is no metric ", metric,
                         "; allowed: ", join({kKnown.begin(), kKnown.end()}, ", "), ", top_3"));
    }
    spec.metrics.push_back(metric);
  }
  INSTEP_RETURN_IF_ERROR(check_metrics(spec));
  return spec;
}

std::string metric_name(std::string_view metric, std::int64_t top_k) {
  return metric == "top-k" ? cat("top_", top_k) : std::string(metric);
}

Status check_metrics(const MetricSpec& spec) {
  const std::optional<job::Loss> like = loss_like(spec.outputs);
  for (const std::string& metric : spec.metrics) {
    if (like && job::fits(metric, *like)) continue;
    return invalid(cat("the metric ", metric, " cannot be measured on outputs ",
                       words(spec.outputs),
                       like ? ""
                            : "; give the loss with what they mean, as "
                              "instep::Loss(call, instep::Outputs::kClasses)"));
  }
  return {};
}

Status check_metrics(const MetricSpec& spec, const data::Table& table, std::uint64_t samples) {
  INSTEP_RETURN_IF_ERROR(check_metrics(spec));
  const bool classes = spec.outputs == Outputs::kClasses && table.class_count > 0;
  for (const std::string& metric : spec.metrics) {
    if (metric != "auc") continue;
    const bool tokens = table.kind == data::Kind::kTokens;
    const std::int64_t columns = classes ? table.class_count : table.target_width;
    INSTEP_RETURN_IF_ERROR(
        check_scores(samples * (tokens ? table.elements() : 1), curves_for(spec.outputs, columns)));
  }
  return {};
}

bool MetricPart::wants(std::string_view metric) const {
  return std::find(spec_.metrics.begin(), spec_.metrics.end(), metric) != spec_.metrics.end();
}

Status MetricPart::add(const at::Tensor& output, const at::Tensor& target, double loss) {
  if (output.dim() < 1 || target.dim() < 1) return unlike(output, target);
  Row row;
  row.samples = target.size(0);
  row.predictions = row.samples;
  row.loss_sum = loss * static_cast<double>(row.samples);
  if (spec_.outputs == Outputs::kClasses) {
    INSTEP_RETURN_IF_ERROR(add_classes(output, target, row));
  } else if (spec_.outputs == Outputs::kLogits || spec_.outputs == Outputs::kProbabilities) {
    INSTEP_RETURN_IF_ERROR(add_yes_or_no(output, target, row));
  } else if (wants("mae")) {
    if (output.numel() != target.numel()) return unlike(output, target);
    const at::Tensor errors = output.sub(target.view_as(output)).abs();
    row.error_sum = errors.sum(at::kDouble).item<double>();
    row.values = errors.numel();
  }
  if (spec_.loss_is_cross_entropy) {
    row.entropy_sum = loss * static_cast<double>(row.predictions);
  }
  rows_.push_back(row);
  return {};
}

// The columns of every batch are as many as the first one's.
Status MetricPart::take_columns(std::int64_t columns) {
  if (columns_ == 0) columns_ = columns;
  if (columns == columns_) return {};
  return invalid(cat("a batch has ", columns, " outputs a sample and one before it ", columns_));
}

Status MetricPart::add_classes(const at::Tensor& outputs, const at::Tensor& targets, Row& row) {
  if (outputs.dim() < 2 || targets.scalar_type() != at::kLong) return unlike(outputs, targets);
  const at::Tensor output = outputs.to(at::kFloat).flatten(0, -2);
  const at::Tensor target = targets.flatten();
  const std::int64_t classes = output.size(1);
  if (output.size(0) != target.size(0)) return unlike(outputs, targets);
  if (target.lt(0).logical_or(target.ge(classes)).any().item<bool>()) {
    return invalid(cat("a target is no class of the ", classes, " that the model tells apart"));
  }
  INSTEP_RETURN_IF_ERROR(take_columns(classes));
  row.predictions = target.size(0);
  const at::Tensor column = target.unsqueeze(1);
  if (wants("accuracy") || counts()) {
    const at::Tensor answer = output.argmax(1);
    const at::Tensor hit = answer.eq(target);
    row.correct = hit.sum().item<std::int64_t>();
    if (counts()) {
      if (classes > kMostCountedClasses) {
        return invalid(cat("precision, recall and f1 count by class, and the model has ", classes,
                           "; allowed: at most ", kMostCountedClasses,
                           "; leave them out of metrics"));
      }
      INSTEP_RETURN_IF_ERROR(add_counts(target.bincount({}, classes), answer.bincount({}, classes),
                                        target.masked_select(hit).bincount({}, classes)));
    }
  }
  if (wants("top-k")) {
    INSTEP_RETURN_IF_ERROR(check_top_k(spec_, classes));
    // As many come before the target's: of equal outputs the lower class, as in argmax.
    const at::Tensor own = output.gather(1, column);
    const at::Tensor lower = at::arange(classes, at::kLong).lt(column);
    const at::Tensor before = output.gt(own).logical_or(output.eq(own).logical_and(lower)).sum(1);
    const at::Tensor number = own.eq(own).squeeze(1);  // a NaN is before nothing, and is no answer
    row.top = before.lt(spec_.top_k).logical_and(number).sum().item<std::int64_t>();
  }
  if (wants("perplexity") && !spec_.loss_is_cross_entropy) {
    row.entropy_sum = -output.log_softmax(1).gather(1, column).sum(at::kDouble).item<double>();
  }
  if (!wants("auc")) return {};
  // Probabilities near 1 differ by less than floats there can tell; their logarithms do not.
  at::Tensor scores = output.to(at::kDouble).log_softmax(1).to(at::kFloat);
  at::Tensor yes = at::arange(classes, at::kLong).eq(column);
  if (classes == 2) {
    scores = scores.slice(1, 1, 2);
    yes = yes.slice(1, 1, 2);
  }
  return add_scores(scores, yes, row);
}

Status MetricPart::add_yes_or_no(const at::Tensor& outputs, const at::Tensor& targets, Row& row) {
  if (outputs.numel() != targets.numel() || outputs.size(0) != targets.size(0)) {
    return unlike(outputs, targets);
  }
  const at::Tensor output = outputs.to(at::kFloat).reshape({outputs.size(0), -1});
  const at::Tensor yes = targets.reshape(output.sizes()).gt(0.5);
  INSTEP_RETURN_IF_ERROR(take_columns(output.size(1)));
  const at::Tensor said = output.gt(spec_.outputs == Outputs::kLogits ? 0.0 : 0.5);
  row.correct = said.eq(yes).all(1).sum().item<std::int64_t>();
  if (counts()) {
    INSTEP_RETURN_IF_ERROR(add_counts(yes.sum(0), said.sum(0), said.logical_and(yes).sum(0)));
  }
  return wants("auc") ? add_scores(output, yes, row) : Status();
}

Status MetricPart::add_counts(const at::Tensor& actual, const at::Tensor& predicted,
                              const at::Tensor& both) {
  counts_.resize(static_cast<std::size_t>(3 * columns_));
  std::size_t at = 0;
  for (const at::Tensor* counts : {&actual, &predicted, &both}) {
    const at::Tensor whole = counts->contiguous();
    const auto* value = whole.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < columns_; ++i) counts_[at++] += value[i];
  }
  return {};
}

Status MetricPart::add_scores(const at::Tensor& scores, const at::Tensor& yes, const Row& row) {
  const auto each =
      static_cast<std::uint64_t>(row.predictions / std::max<std::int64_t>(row.samples, 1));
  INSTEP_RETURN_IF_ERROR(check_scores(samples_ * each, scores.size(1)));
  curves_ = static_cast<std::uint32_t>(scores.size(1));
  const at::Tensor values = scores.contiguous();
  const at::Tensor answers = yes.contiguous();
  const auto* value = values.const_data_ptr<float>();
  const auto* answer = answers.const_data_ptr<bool>();
  scores_.insert(scores_.end(), value, value + values.numel());
  is_yes_.insert(is_yes_.end(), answer, answer + answers.numel());
  return {};
}

}  // namespace instep::train
