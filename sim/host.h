// What a simulated process sees of its world.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>

#include "base/random.h"
#include "counts.h"
#include "job.h"
#include "member/events.h"
#include "memory.h"
#include "plant.h"
#include "round/turn.h"
#include "timeline.h"
#include "wire/message.h"

namespace instep::sim {

// Something that must never be so. Thrown through production code, which is left as it stands.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A process dies where it stands.
struct Killed : std::exception {};

struct Host {
  const Job& job;
  Memory& memory;
  Oracle& oracle;
  Random& random;
  Counts& counts;
  Plant plant = Plant::kNone;
  bool hosted = false;  // one of several
  // The book that came with the newest restart, and the view that it came with.
  std::vector<std::byte> book;
  std::uint32_t book_view = 0;

  virtual ~Host() = default;
  virtual void send(AgentId from, wire::Message message) = 0;
  virtual void round_begun(AgentId agent, std::uint64_t round) = 0;
  virtual void round_done(AgentId agent, std::uint64_t round) = 0;
  void note_phase(round::Turn::Phase phase) { ++turn_phases[static_cast<std::size_t>(phase)]; }
  void note_phase(round::Exchange::Phase phase) {
    ++exchange_phases[static_cast<std::size_t>(phase)];
  }
  // Whether a view without it is out.
  virtual bool left_out(AgentId agent) = 0;
  virtual void trace(AgentId agent, const std::string& what) = 0;
  bool tracing = false;
  std::array<std::uint64_t, 16> turn_phases{}, exchange_phases{};

  Host(const Job& the_job, Memory& the_memory, Oracle& the_oracle, Random& the_random,
       Counts& the_counts)
      : job(the_job),
        memory(the_memory),
        oracle(the_oracle),
        random(the_random),
        counts(the_counts) {}
};

}  // namespace instep::sim
