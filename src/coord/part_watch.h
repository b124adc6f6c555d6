// Waits in a thread of its own until all members of a host have published their part of a ticket:
// the bridge's ears. It is one more waiter on the members' words (design, rule 10), whose own words
// are the world's.
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
  // `arrived` is called in the thread, once for each ticket that was not replaced before. The page
  // outlives the object.
  PartWatch(fabric::ControlPage* page, std::function<void(fabric::Ticket)> arrived);
  ~PartWatch();
  PartWatch(const PartWatch&) = delete;
  PartWatch& operator=(const PartWatch&) = delete;

  // From any thread: what is wanted from now on. No members: nothing.
  void want(std::vector<member::AgentId> members, fabric::Ticket ticket);

 private:
  void run();
  bool wait_for(member::AgentId agent, fabric::Ticket ticket, std::uint64_t wanted);

  fabric::ControlPage* const page_;
  const std::function<void(fabric::Ticket)> arrived_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<member::AgentId> members_;  // guarded by mutex_
  fabric::Ticket ticket_ = 0;             // guarded by mutex_
  bool over_ = false;                     // guarded by mutex_
  std::atomic<std::uint64_t> wants_ = 0;  // so far
  // The word that the thread may sleep on.
  std::atomic<const std::atomic<fabric::Ticket>*> asleep_on_ = nullptr;
  std::thread thread_;
};

}  // namespace instep::coord
