// What a drill may do to a run that goes on: look where it is, hurt agents, let them come and go.
// The launcher implements it; whoever injects faults codes against it. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "member/view.h"

namespace instep::coord {

// In the place of an agent, where a signal is meant for the coordinator's process.
inline constexpr member::AgentId kTheCoordinator = -2;

class Steering {
 public:
  virtual ~Steering() = default;

  // Rounds that the newest agent has finished; before the first view 0. It may stand still while
  // agents are replaced, and never goes back.
  virtual std::uint64_t round() const = 0;
  // Members of the newest view whose processes live, ascending: those that a fault can mean.
  virtual std::vector<member::AgentId> agents() const = 0;
  // Wanted agents, as -n or the last scale(), join() or leave() said.
  virtual std::uint32_t wanted() const = 0;

  // Sends the agent's process, or the coordinator's, a signal (SIGKILL, SIGSTOP, SIGCONT); false if
  // it is not there.
  virtual bool signal(member::AgentId agent, int signal) = 0;
  // From now on so many agents are wanted: more are started, or the highest ones leave.
  virtual Status scale(std::uint32_t agents) = 0;
  // One agent more than wanted up to now.
  virtual Status join() = 0;
  // Asks the agent to leave (SIGTERM); one less is wanted once it has said that it does. kNotFound
  // if it is not a living member.
  virtual Status leave(member::AgentId agent) = 0;
  // Flips one bit of the shared state, the one that `seed` chooses among what is in use.
  virtual Status flip_bit(std::uint64_t seed) = 0;
};

// Called in each turn of the launcher's loop once there is a view; returns when it wants to be
// called next (CLOCK_MONOTONIC in ns), or nothing for never again.
using Drill = std::function<std::optional<std::int64_t>(Steering& run, std::int64_t now)>;

}  // namespace instep::coord
