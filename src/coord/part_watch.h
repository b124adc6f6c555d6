// Looks in a thread of its own for what the members of a host publish of a ticket: the bridge's
// ears. It is one more waiter on the members' words (design, rule 10), whose own words are the
// world's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "fabric/host_memory.h"
#include "member/view.h"

namespace instep::coord {

class PartWatch {
 public:
  // `news` is called in the thread for a ticket that was not replaced before: when all members have
  // opened or published their parts of it, and from then on when each of them who has only opened
  // one has said more. The page outlives the object.
  PartWatch(fabric::ControlPage* page, std::function<void(fabric::Ticket)> news);
  ~PartWatch();
  PartWatch(const PartWatch&) = delete;
  PartWatch& operator=(const PartWatch&) = delete;

  // From any thread: what is wanted from now on. No members: nothing.
  void want(std::vector<member::AgentId> members, fabric::Ticket ticket);

 private:
  struct Member {
    fabric::AgentWords* words = nullptr;
    std::uint64_t heard = 0;  // its news before the last look
    bool published = false;
  };

  void run();
  void watch(std::vector<Member> members, fabric::Ticket ticket, std::uint64_t wanted);
  bool wait_for_opening(Member& member, fabric::Ticket ticket, std::uint64_t wanted);
  bool wait_for_more(const Member& member, std::uint64_t wanted);

  fabric::ControlPage* const page_;
  const std::function<void(fabric::Ticket)> news_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<member::AgentId> members_;  // guarded by mutex_
  fabric::Ticket ticket_ = 0;             // guarded by mutex_
  bool over_ = false;                     // guarded by mutex_
  std::atomic<std::uint64_t> wants_ = 0;  // so far
  // The word that the thread may sleep on.
  std::atomic<const std::atomic<std::uint64_t>*> asleep_on_ = nullptr;
  std::thread thread_;
};

}  // namespace instep::coord
