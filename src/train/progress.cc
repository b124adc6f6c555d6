#include "train/progress.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "train/metrics.h"

namespace instep::train {

using nlohmann::json;

namespace {

// JSON has no word for what is not finite.
json number_or_word(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double from_number_or_word(const json& value) {
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  return value.get<double>();
}

// The factor falls when the judged value has not improved for `patience_epochs` epochs, and then
// waits as long again; NaN is no improvement.
double plateau_factor(const job::Job& job, const std::vector<EpochRecord>& epochs) {
  const bool measured = std::any_of(epochs.begin(), epochs.end(), [&](const EpochRecord& epoch) {
    return judged_metric(job, epoch) != nullptr;
  });
  // Without a validation and a test set the training loss is what there is to judge.
  const double sign = !measured || job::falls(job.stop.metric) ? -1 : 1;
  double factor = 1;
  std::optional<double> best;
  std::int64_t since = 0;
  for (const EpochRecord& epoch : epochs) {
    const double* value = measured ? judged_metric(job, epoch) : &epoch.train_loss;
    if (value == nullptr) continue;
    if (!std::isnan(*value) && (!best || sign * *value > *best)) {
      best = sign * *value;
      since = 0;
    } else if (++since >= job.schedule.patience_epochs) {
      factor = std::max(factor * job.schedule.gamma, job.schedule.final_factor);
      since = 0;
    }
  }
  return factor;
}

}  // namespace

std::string to_json(const Progress& progress) {
  json epochs = json::array();
  for (const EpochRecord& epoch : progress.epochs) {
    json metrics = json::object();
    for (const auto& [name, value] : epoch.metrics) metrics[name] = number_or_word(value);
    epochs.push_back({{"data_epoch", epoch.data_epoch},
                      {"round", epoch.round},
                      {"train_loss", number_or_word(epoch.train_loss)},
                      {"metrics", metrics},
                      {"lr_factor", epoch.lr_factor}});
  }
  return json{{"epochs", epochs},
              {"loss_sum", number_or_word(progress.loss_sum)},
              {"loss_samples", progress.loss_samples},
              {"samples",
               {progress.samples.due, progress.samples.counted, progress.samples.missed,
                progress.samples.repeated}}}
      .dump();
}

Result<Progress> progress_from_json(std::string_view text) {
  const Error broken{ErrorKind::kCorrupt, "the checkpoint's progress does not hold together"};
  try {
    const json all = json::parse(text);
    Progress out;
    for (const json& item : all.at("epochs")) {
      EpochRecord epoch;
      epoch.data_epoch = item.at("data_epoch").get<std::uint64_t>();
      epoch.round = item.at("round").get<std::uint64_t>();
      epoch.train_loss = from_number_or_word(item.at("train_loss"));
      for (const auto& [name, value] : item.at("metrics").items()) {
        epoch.metrics[name] = from_number_or_word(value);
      }
      epoch.lr_factor = item.value("lr_factor", 1.0);
      out.epochs.push_back(std::move(epoch));
    }
    out.loss_sum = from_number_or_word(all.at("loss_sum"));
    out.loss_samples = all.at("loss_samples").get<std::uint64_t>();
    const auto counts = all.at("samples").get<std::vector<std::uint64_t>>();
    if (counts.size() != 4) return broken;
    out.samples = {counts[0], counts[1], counts[2], counts[3]};
    return out;
  } catch (const json::exception&) {
    return broken;
  }
}

std::string epoch_line(const EpochRecord& epoch, std::int64_t epochs) {
  std::string line =
      cat("epoch ", epoch.data_epoch, "/", epochs, "  loss ", number(epoch.train_loss, 5));
  for (const auto& [name, value] : epoch.metrics) line += cat("  ", name, " ", number(value, 5));
  return line;
}

const double* judged_metric(const job::Job& job, const EpochRecord& epoch) {
  for (const char* set : {"validation_", "test_"}) {
    const auto found = epoch.metrics.find(set + metric_name(job.stop.metric, job.top_k));
    if (found != epoch.metrics.end()) return &found->second;
  }
  return nullptr;
}

std::string judged_name(const job::Job& job, const std::vector<EpochRecord>& epochs) {
  const std::string metric = metric_name(job.stop.metric, job.top_k);
  const std::string validation = "validation_" + metric;
  const bool validated = std::any_of(epochs.begin(), epochs.end(), [&](const EpochRecord& epoch) {
    return epoch.metrics.count(validation) != 0;
  });
  return validated ? validation : "test_" + metric;
}

double history_factor(const job::Job& job, const std::vector<EpochRecord>& epochs) {
  const double own = epochs.empty() ? 1 : epochs.back().lr_factor;
  return job.schedule.kind == job::ScheduleKind::kPlateau ? own * plateau_factor(job, epochs) : own;
}

std::string stop_after_epoch(const job::Job& job, const std::vector<EpochRecord>& epochs) {
  const job::Stop& stop = job.stop;
  const double sign = job::falls(stop.metric) ? -1 : 1;  // as if larger were better
  const double* newest = epochs.empty() ? nullptr : judged_metric(job, epochs.back());
  if (newest == nullptr) return "";
  if (stop.target && sign * *newest >= sign * *stop.target) {
    return cat(metric_name(stop.metric, job.top_k), " ", number(*newest, 5), " reached the target ",
               number(*stop.target, 5));
  }
  if (stop.patience_epochs <= 0) return "";
  std::size_t best = 0;
  const double* best_value = nullptr;
  for (std::size_t i = 0; i < epochs.size(); ++i) {
    const double* value = judged_metric(job, epochs[i]);
    if (value != nullptr && (best_value == nullptr || sign * *value > sign * *best_value)) {
      best = i;
      best_value = value;
    }
  }
  const auto since = static_cast<std::int64_t>(epochs.size() - 1 - best);
  if (since < stop.patience_epochs) return "";
  return cat("no better ", metric_name(stop.metric, job.top_k), " for ", since, " epochs of data");
}

std::string stop_after_round(const job::Stop& stop, double gradient_norm, double parameter_change) {
  if (stop.gradient_norm > 0 && gradient_norm < stop.gradient_norm) {
    return cat("gradient norm ", gradient_norm, " is below ", stop.gradient_norm);
  }
  if (stop.parameter_change > 0 && parameter_change < stop.parameter_change) {
    return cat("parameter change ", parameter_change, " is below ", stop.parameter_change);
  }
  return "";
}

}  // namespace instep::train
