// Drills: faults made on purpose while a run goes on, so that its users and its tests see what it
// does about them. Texts are read here (docs/faults.md has them); the drill itself is a state
// machine over coord/steering.h without a clock, a thread or a process of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "coord/steering.h"
#include "member/view.h"

namespace instep::coord {

enum class FaultKind { kKill, kHang, kSlow, kJoin, kLeave, kFlip };

// One fault, made once `round` rounds are finished.
struct Fault {
  FaultKind kind = FaultKind::kKill;
  member::AgentId agent = -1;  // kill, hang (these two of kTheCoordinator too), slow, leave
  std::uint64_t round = 0;
  std::int64_t lasts_ns = 0;  // hang
  double factor = 1;          // slow: runs 1/factor of the time, above 1
  bool operator==(const Fault&) const = default;
};

// Faults at random: exponential times between them, of the kinds given.
struct Chaos {
  std::int64_t mtbf_ns = 0;  // mean time between faults
  std::uint64_t seed = 1;
  std::vector<FaultKind> kinds = {FaultKind::kKill, FaultKind::kHang, FaultKind::kJoin,
                                  FaultKind::kLeave};
  bool operator==(const Chaos&) const = default;
};

struct DrillPlan {
  std::vector<Fault> faults;
  std::optional<Chaos> chaos;
  // What chaos leaves alone: it asks nobody to leave where so few agents are wanted, and neither
  // kills nor hangs where so few are in (0: it may hit the last one).
  std::uint32_t least_wanted = 1, least_members = 0;
};

// "kill 2 at 100; hang 1 at 200 for 5s; slow 3 by 3x at 50; join at 300; leave 0 at 400;
// flip at 120; kill coordinator at 500", and "mtbf=2s,seed=7,kinds=kill+hang+join+leave". Errors
// name the part, what was found and what is allowed.
Result<std::vector<Fault>> parse_faults(std::string_view text);
Result<Chaos> parse_chaos(std::string_view text);
// A fault as it is written: "kill 2 at 100".
std::string to_text(const Fault& fault);

// Told of each fault that was made, and of each that could not be: `made` false.
using DrillNews = std::function<void(const std::string& text, bool made)>;

// A plan without faults and chaos gives a drill that ends at once.
Drill make_drill(const DrillPlan& plan, DrillNews news);

}  // namespace instep::coord
