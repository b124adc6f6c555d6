// Entries onto a job: unknown keys, types and ranges are judged here, whatever the entries came
// from.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "job/job.h"
#include "job/value.h"

namespace instep::job {

// In order, later ones over earlier ones; `given` gets the winners. The first mistake is the error.
Status apply(const std::vector<Entry>& entries, Job& job, std::vector<Given>& given);

// A mistake that only the whole job shows, or a field out of its range. `keys` are those that have
// part in it, the one to blame first.
struct Fault {
  std::vector<std::string> keys;
  std::string message;
};
std::optional<Fault> find_fault(const Job& job);

}  // namespace instep::job
