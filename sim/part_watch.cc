#include "part_watch.h"

namespace instep::sim {
namespace {

constexpr Nanoseconds kSlice = 20 * kMillisecond;

}  // namespace

void PartWatch::want(std::vector<AgentId> members, fabric::Ticket ticket) {
  members_ = std::move(members);
  ticket_ = ticket;
  at_ = 0;
  asleep_on_ = nullptr;
  loop_.cancel(timer_);
  if (!members_.empty()) step_after(loop_.timeline().upto(20 * kMicrosecond));
}

void PartWatch::woken(const void* word) {
  if (asleep_on_ != word) return;
  asleep_on_ = nullptr;
  loop_.cancel(timer_);
  step_after(3 * kMicrosecond + loop_.timeline().upto(60 * kMicrosecond));
}

void PartWatch::step_after(Nanoseconds time) {
  timer_ = loop_.after(time, [this] { step(); });
}

void PartWatch::step() {
  auto& waiting = memory_.control().agents[fabric::kWorld].waiting;
  for (; at_ < members_.size(); ++at_) {
    const auto& word = memory_.words(members_[at_]).published;
    if (word.load() >= ticket_) continue;
    waiting.store(1);
    asleep_on_ = &word;
    return step_after(kSlice);
  }
  waiting.store(0);
  asleep_on_ = nullptr;
  loop_.post([this, ticket = ticket_] { arrived_(ticket); });
}

}  // namespace instep::sim
