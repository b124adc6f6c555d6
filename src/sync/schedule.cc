#include "sync/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace instep::sync {

double schedule_factor(const job::Schedule& schedule, std::uint64_t round,
                       std::uint64_t rounds_per_epoch, std::uint64_t rounds) {
  const auto warmup = static_cast<std::uint64_t>(schedule.warmup_rounds);
  if (round < warmup) return static_cast<double>(round + 1) / static_cast<double>(warmup + 1);
  switch (schedule.kind) {
    case job::ScheduleKind::kConstant:
    case job::ScheduleKind::kPlateau:  // follows what is measured, see train/progress.h
      return 1;
    case job::ScheduleKind::kStep: {
      const std::uint64_t epoch = round / std::max<std::uint64_t>(rounds_per_epoch, 1);
      const std::uint64_t steps = epoch / static_cast<std::uint64_t>(schedule.step_epochs);
      return std::pow(schedule.gamma, static_cast<double>(steps));
    }
    case job::ScheduleKind::kCosine: {
      if (rounds <= warmup + 1) return 1;
      const double done = std::min(
          1.0, static_cast<double>(round - warmup) / static_cast<double>(rounds - 1 - warmup));
      const double shape = 0.5 * (1 + std::cos(std::numbers::pi * done));
      return schedule.final_factor + (1 - schedule.final_factor) * shape;
    }
  }
  return 1;
}

}  // namespace instep::sync
