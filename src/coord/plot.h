// The picture of one or more runs: which panels there are, what each shows, where everything lies.
// Pure.
#pragma once

#include <vector>

#include "coord/run_records.h"
#include "coord/svg.h"

namespace instep::coord {

inline constexpr std::size_t kMostRuns = 2 * kColours;

struct PlotOptions {
  By by = By::kRound;
  bool log_loss = false;
};

// Of 1 to kMostRuns runs. Loss first, then each metric, then throughput; a panel that no run has
// anything for is left out. Colours tell runs apart, or the sets of a single run; dashes the sets.
Drawing plot(const std::vector<RunRecords>& runs, const PlotOptions& options);

}  // namespace instep::coord
