// A bridge's ears, which wait for its members' parts: as coord::PartWatch.
#pragma once

#include <functional>
#include <vector>

#include "fabric/host_memory.h"
#include "loop.h"
#include "memory.h"

namespace instep::sim {

class PartWatch {
 public:
  PartWatch(Loop& loop, Memory& memory, std::function<void(fabric::Ticket)> arrived)
      : loop_(loop), memory_(memory), arrived_(std::move(arrived)) {}

  void want(std::vector<AgentId> members, fabric::Ticket ticket);
  // Somebody wakes who sleeps on the word.
  void woken(const void* word);

 private:
  void step_after(Nanoseconds time);
  void step();

  Loop& loop_;
  Memory& memory_;
  const std::function<void(fabric::Ticket)> arrived_;
  std::vector<AgentId> members_;
  fabric::Ticket ticket_ = 0;
  std::size_t at_ = 0;  // in members_
  const void* asleep_on_ = nullptr;
  std::uint64_t timer_ = 0;
};

}  // namespace instep::sim
