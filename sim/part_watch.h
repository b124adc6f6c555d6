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
  PartWatch(Loop& loop, Memory& memory, std::function<void(fabric::Ticket)> news)
      : loop_(loop), memory_(memory), news_(std::move(news)) {}

  void want(const std::vector<AgentId>& members, fabric::Ticket ticket);
  // Somebody wakes who sleeps on the word.
  void woken(const void* word);

 private:
  struct Member {
    fabric::AgentWords* words = nullptr;
    std::uint64_t heard = 0;
    bool published = false;
  };

  void step_after(Nanoseconds time);
  void step();
  bool sleeps_before_more(const Member& member);
  bool is_open(Member& member);

  Loop& loop_;
  Memory& memory_;
  const std::function<void(fabric::Ticket)> news_;
  std::vector<Member> members_;
  fabric::Ticket ticket_ = 0;
  std::size_t at_ = 0;   // in members_
  bool opening_ = true;  // it waits for members to open their parts, and not for more of those
  const void* asleep_on_ = nullptr;
  std::uint64_t timer_ = 0;
};

}  // namespace instep::sim
