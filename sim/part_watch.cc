#include "part_watch.h"

namespace instep::sim {
namespace {

constexpr Nanoseconds kSlice = 20 * kMillisecond;

}  // namespace

void PartWatch::want(const std::vector<AgentId>& members, fabric::Ticket ticket) {
  members_.clear();
  for (const AgentId agent : members) members_.push_back({&memory_.words(agent)});
  ticket_ = ticket;
  at_ = 0;
  opening_ = true;
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

bool PartWatch::sleeps_before_more(const Member& member) {
  if (member.words->news.load() > member.heard) return false;
  memory_.control().agents[fabric::kWorld].waiting.store(1);
  asleep_on_ = &member.words->news;
  step_after(kSlice);
  return true;
}

bool PartWatch::is_open(Member& member) {
  member.heard = member.words->news.load();
  member.published = member.words->published.load() >= ticket_;
  return member.published || member.words->opened.load() >= ticket_;
}

void PartWatch::step() {
  for (; at_ < members_.size(); ++at_) {
    Member& member = members_[at_];
    if (opening_ ? !is_open(member) && sleeps_before_more(member) : sleeps_before_more(member)) {
      return;
    }
  }
  memory_.control().agents[fabric::kWorld].waiting.store(0);
  asleep_on_ = nullptr;
  at_ = 0;
  if (opening_) {
    loop_.post([this, ticket = ticket_] { news_(ticket); });
    std::erase_if(members_, [](const Member& member) { return member.published; });
  }
  opening_ = !opening_;
  if (!members_.empty()) step_after(loop_.timeline().upto(20 * kMicrosecond));
}

}  // namespace instep::sim
