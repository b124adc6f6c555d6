#include "coord/part_watch.h"

#include <algorithm>
#include <utility>

#include "fabric/wait.h"

namespace instep::coord {
namespace {

// It gives the processors to those who compute.
constexpr fabric::WaitOptions kWait{0, 20};

}  // namespace

PartWatch::PartWatch(fabric::ControlPage* page, std::function<void(fabric::Ticket)> news)
    : page_(page), news_(std::move(news)), thread_([this] { run(); }) {}

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
bool PartWatch::wait_for_more(const Member& member, std::uint64_t wanted) {
  const auto& word = member.words->news;
  // Said before the look at what is wanted, so that whoever changes that sees where we sleep.
  asleep_on_.store(&word, std::memory_order_seq_cst);
  bool more = false;
  while (!more && wants_.load(std::memory_order_seq_cst) == wanted) {
    more =
        fabric::wait_at_least(word, member.heard + 1, page_->agents[fabric::kWorld].waiting, kWait);
  }
  asleep_on_.store(nullptr, std::memory_order_relaxed);
  return more;
}

// Likewise.
bool PartWatch::wait_for_opening(Member& member, fabric::Ticket ticket, std::uint64_t wanted) {
  while (true) {
    // Before the look, so that what comes during it is no reason to sleep.
    member.heard = member.words->news.load(std::memory_order_acquire);
    member.published = member.words->published.load(std::memory_order_acquire) >= ticket;
    if (member.published || member.words->opened.load(std::memory_order_acquire) >= ticket) {
      return wants_.load(std::memory_order_seq_cst) == wanted;
    }
    if (!wait_for_more(member, wanted)) return false;
  }
}

void PartWatch::watch(std::vector<Member> members, fabric::Ticket ticket, std::uint64_t wanted) {
  while (!members.empty()) {
    for (Member& member : members) {
      if (!wait_for_opening(member, ticket, wanted)) return;
    }
    news_(ticket);
    std::erase_if(members, [](const Member& member) { return member.published; });
    // What one has settled is of no use before the others have settled the same.
    for (const Member& member : members) {
      if (!wait_for_more(member, wanted)) return;
    }
  }
}

void PartWatch::run() {
  std::uint64_t done = 0;
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return over_ || wants_.load() != done; });
    if (over_) return;
    const std::uint64_t wanted = wants_.load();
    std::vector<Member> members;
    for (const member::AgentId agent : members_) members.push_back({&page_->agents[agent]});
    const fabric::Ticket ticket = ticket_;
    lock.unlock();
    watch(std::move(members), ticket, wanted);
    done = wanted;
  }
}

}  // namespace instep::coord
