#include "coord/part_watch.h"

#include <utility>

#include "fabric/wait.h"

namespace instep::coord {
namespace {

// It gives the processors to those who compute.
constexpr fabric::WaitOptions kWait{0, 20};

}  // namespace

PartWatch::PartWatch(fabric::ControlPage* page, std::function<void(fabric::Ticket)> arrived)
    : page_(page), arrived_(std::move(arrived)), thread_([this] { run(); }) {}

PartWatch::~PartWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  want({}, 0);
  thread_.join();
}

void PartWatch::want(std::vector<member::AgentId> members, fabric::Ticket ticket) {
  {
    const std::lock_guard lock(mutex_);
    members_ = std::move(members);
    ticket_ = ticket;
    wants_.fetch_add(1, std::memory_order_seq_cst);
  }
  changed_.notify_one();
  if (const auto* word = asleep_on_.load(std::memory_order_seq_cst)) fabric::wake(*word);
}

// False: something else is wanted by now.
bool PartWatch::wait_for(member::AgentId agent, fabric::Ticket ticket, std::uint64_t wanted) {
  const auto& word = page_->agents[agent].published;
  // Said before the look at what is wanted, so that whoever changes that sees where we sleep.
  asleep_on_.store(&word, std::memory_order_seq_cst);
  bool there = false;
  while (!there && wants_.load(std::memory_order_seq_cst) == wanted) {
    there = fabric::wait_at_least(word, ticket, page_->agents[fabric::kWorld].waiting, kWait);
  }
  asleep_on_.store(nullptr, std::memory_order_relaxed);
  return there;
}

void PartWatch::run() {
  std::uint64_t done = 0;
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return over_ || wants_.load() != done; });
    if (over_) return;
    const std::uint64_t wanted = wants_.load();
    const std::vector<member::AgentId> members = members_;
    const fabric::Ticket ticket = ticket_;
    lock.unlock();
    bool there = !members.empty();
    for (const member::AgentId agent : members) there = there && wait_for(agent, ticket, wanted);
    done = wanted;
    if (there) arrived_(ticket);
  }
}

}  // namespace instep::coord
