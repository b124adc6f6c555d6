#include "train/progress.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace instep::train {

using nlohmann::json;

std::string to_json(const Progress& progress) {
  json epochs = json::array();
  for (const EpochRecord& epoch : progress.epochs) {
    epochs.push_back({{"data_epoch", epoch.data_epoch},
                      {"round", epoch.round},
                      {"train_loss", epoch.train_loss},
                      {"metrics", epoch.metrics}});
  }
  return json{{"epochs", epochs},
              {"loss_sum", progress.loss_sum},
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
      epoch.train_loss = item.at("train_loss").get<double>();
      epoch.metrics = item.at("metrics").get<std::map<std::string, double>>();
      out.epochs.push_back(std::move(epoch));
    }
    out.loss_sum = all.at("loss_sum").get<double>();
    out.loss_samples = all.at("loss_samples").get<std::uint64_t>();
    const auto counts = all.at("samples").get<std::vector<std::uint64_t>>();
    if (counts.size() != 4) return broken;
    out.samples = {counts[0], counts[1], counts[2], counts[3]};
    return out;
  } catch (const json::exception&) {
    return broken;
  }
}

const double* judged_metric(const job::Stop& stop, const EpochRecord& epoch) {
  for (const char* set : {"validation_", "test_"}) {
    const auto found = epoch.metrics.find(set + stop.metric);
    if (found != epoch.metrics.end()) return &found->second;
  }
  return nullptr;
}

std::string judged_name(const job::Stop& stop, const std::vector<EpochRecord>& epochs) {
  const std::string validation = "validation_" + stop.metric;
  const bool validated = std::any_of(epochs.begin(), epochs.end(), [&](const EpochRecord& epoch) {
    return epoch.metrics.count(validation) != 0;
  });
  return validated ? validation : "test_" + stop.metric;
}

std::string stop_after_epoch(const job::Stop& stop, const std::vector<EpochRecord>& epochs) {
  const double sign = job::falls(stop.metric) ? -1 : 1;  // as if larger were better
  const double* newest = epochs.empty() ? nullptr : judged_metric(stop, epochs.back());
  if (newest == nullptr) return "";
  if (stop.target && sign * *newest >= sign * *stop.target) {
    return cat(stop.metric, " ", number(*newest, 5), " reached the target ",
               number(*stop.target, 5));
  }
  if (stop.patience_epochs <= 0) return "";
  std::size_t best = 0;
  const double* best_value = nullptr;
  for (std::size_t i = 0; i < epochs.size(); ++i) {
    const double* value = judged_metric(stop, epochs[i]);
    if (value != nullptr && (best_value == nullptr || sign * *value > sign * *best_value)) {
      best = i;
      best_value = value;
    }
  }
  const auto since = static_cast<std::int64_t>(epochs.size() - 1 - best);
  if (since < stop.patience_epochs) return "";
  return cat("no better ", stop.metric, " for ", since, " epochs of data");
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
