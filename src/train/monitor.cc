#include "train/monitor.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "job/job.h"

namespace instep::train {
namespace {

constexpr std::string_view kValidation = "val_";
constexpr std::string_view kTest = "test_";

std::string_view metric_of(std::string_view name) {
  for (const std::string_view set : {kValidation, kTest}) {
    if (name.substr(0, set.size()) == set) return name.substr(set.size());
  }
  return name;
}

}  // namespace

Monitor::Monitor(std::string name, double min_delta)
    : name_(std::move(name)), sign_(job::falls(metric_of(name_)) ? -1 : 1), min_delta_(min_delta) {}

bool Monitor::improved(const Metrics& logs) {
  is_best_ = false;
  const auto found = logs.find(name_);
  if (found == logs.end() || std::isnan(found->second)) return false;
  const double value = sign_ * found->second;
  if (!best_ || value >= *best_) {
    best_ = value;
    is_best_ = true;
  }
  if (reference_ && value - *reference_ <= min_delta_) return false;
  reference_ = value;
  return true;
}

void EarlyStop::on_epoch_end(EpochEnd& epoch) {
  since_ = monitor_.improved(epoch.logs) ? 0 : since_ + 1;
  if (since_ < std::max<std::int64_t>(patience_, 1)) return;
  epoch.stop = cat("no better ", monitor_.name(), " for ", since_,
                   since_ == 1 ? " epoch" : " epochs", " of data");
}

void ReduceRate::on_epoch_end(EpochEnd& epoch) {
  since_ = monitor_.improved(epoch.logs) ? 0 : since_ + 1;
  if (since_ < std::max<std::int64_t>(options_.patience, 1)) return;
  since_ = 0;
  epoch.lr_factor = std::min(epoch.lr_factor, std::max(epoch.lr_factor * options_.factor, least_));
}

std::string judged_word(const std::string& monitor) {
  if (monitor.rfind(kValidation, 0) != 0) return "";
  const std::string_view metric = metric_of(monitor);
  return metric.substr(0, 4) == "top_" ? "top-k" : std::string(metric);
}

}  // namespace instep::train
