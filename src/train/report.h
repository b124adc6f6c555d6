// An agent's part of the report, as JSON (docs/report.md): the lead's has the run's results.
#pragma once

#include <string>

#include "train/loop.h"

namespace instep::train {

std::string report(const Engine& engine, const Loop* loop, const job::Job& job);

}  // namespace instep::train
