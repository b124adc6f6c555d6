// The processes of one host that a foreign launcher started together: the first one works for all,
// the others wait for it and end as it does. They find each other by a Unix socket without a file,
// named after the user and the launcher's job; the kernel takes the name back with the process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::coord {

struct RankGroup {
  std::string launcher, job;  // which tell it from the host's other groups
  std::uint32_t rank = 0, size = 1;
};

// What the first process has of the others.
class RankLead {
 public:
  // Returns when all the others have come. Launchers give each process processors of its own; from
  // then on this one may use those of all.
  static Result<RankLead> gather(const RankGroup& group, std::int64_t limit_ms);
  // The others end with this code. Without it they end with an error.
  void end(int exit_code) const;

 private:
  RankLead() = default;
  Fd name_;  // held, so that nobody else is the first one meanwhile
  std::vector<Fd> others_;
};

// For one of the others: the first one's exit code; an Error if it does not come, or dies. Requests
// to stop are for the first one, which gets them too, and are ignored here.
Result<int> follow_lead(const RankGroup& group, std::int64_t limit_ms);

}  // namespace instep::coord
