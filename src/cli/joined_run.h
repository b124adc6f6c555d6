// A host's part of a run that it has joined.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "coord/joined_host.h"

namespace instep::cli {

struct JoinedRun {
  std::uint32_t agents = 1;
  bool stops_together = false;        // coord::LaunchPlan
  std::vector<std::string> warnings;  // said once there is a log to keep them
};
// Returns the exit code.
int train_joined(const Options& options, coord::JoinedHost& host, const JoinedRun& run);

}  // namespace instep::cli
