// An agent's part of the report, as JSON (docs/report.md).
#pragma once

#include <string>
#include <string_view>

#include "train/loop.h"

namespace instep::train {

// `leads`: the lead's, which everybody repeats with its own figures. Empty: what this agent knows,
// and on the lead the run's results.
std::string report(const Engine& engine, const Loop* loop, const job::Job& job,
                   std::string_view leads);

}  // namespace instep::train
