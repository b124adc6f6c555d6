#include "round/seat.h"

#include <algorithm>

#include "base/result.h"
#include "fabric/wait.h"

namespace instep::round {

using member::Op;
using member::View;

fabric::Ticket ticket_of(const View& view, Op op) {
  const Op first = member::gather_op(member::rounds_before(view.first_op), 0);
  return fabric::ticket(view.epoch.number, op - first + 1);
}

void Seat::offer(View view) {
  {
    const std::lock_guard lock(mutex_);
    // A view from an earlier op on says what becomes of the later ones too.
    std::erase_if(pending_, [&view](const View& other) { return other.first_op >= view.first_op; });
    pending_.push_back(std::move(view));
    barrier_.store(~0ULL, std::memory_order_seq_cst);
  }
  news_.store(true, std::memory_order_seq_cst);
}

std::optional<wire::Promise> Seat::propose(const wire::Propose& proposal) {
  const std::lock_guard lock(mutex_);
  if (proposal.round == wire::kWithdrawn) {
    barrier_.store(~0ULL, std::memory_order_seq_cst);
    news_.store(true, std::memory_order_seq_cst);
    return std::nullopt;
  }
  wire::Promise answer;
  answer.number = proposal.number;
  // Either this look sees that the round has begun, or who begins it sees the barrier.
  barrier_.store(proposal.round, std::memory_order_seq_cst);
  const std::uint64_t begun = begun_.load(std::memory_order_seq_cst);
  answer.round = begun == 0 ? 0 : begun - 1;
  answer.over = proposal.round >= rounds_.load();
  answer.kept = begun <= proposal.round && !answer.over;
  if (!answer.kept) {
    barrier_.store(~0ULL, std::memory_order_seq_cst);
    news_.store(true, std::memory_order_seq_cst);
  }
  return answer;
}

Op Seat::begin_round(std::uint64_t round) {
  begun_.store(round + 1, std::memory_order_seq_cst);
  op_ = member::round_op(round);
  news_.store(true, std::memory_order_relaxed);
  return op_;
}

Op Seat::begin_gather(std::uint64_t round) {
  if (gathers_at_ != round) gathers_ = 0;
  gathers_at_ = round;
  INSTEP_CHECK(gathers_ < member::kRoundOp, "gathers between two rounds");
  op_ = member::gather_op(round, gathers_++);
  news_.store(true, std::memory_order_relaxed);
  return op_;
}

bool Seat::held() const {
  return (op_ & member::kRoundOp) == member::kRoundOp &&
         member::rounds_before(op_) >= barrier_.load(std::memory_order_seq_cst);
}

bool Seat::is_due() {
  if (!news()) return false;
  const std::lock_guard lock(mutex_);
  const bool due = !pending_.empty() && pending_.front().first_op <= op_;
  if (!due) news_.store(false, std::memory_order_seq_cst);
  return due;
}

bool Seat::goes(member::AgentId agent) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(pending_.begin(), pending_.end(), [this, agent](const View& view) {
    return view.first_op <= member::round_op(begun_.load()) &&
           std::find(view.members.begin(), view.members.end(), agent) == view.members.end();
  });
}

std::optional<View> Seat::due() {
  news_.store(false, std::memory_order_seq_cst);
  const std::lock_guard lock(mutex_);
  std::optional<View> out;
  while (!pending_.empty() && pending_.front().first_op <= op_) {
    out = std::move(pending_.front());
    pending_.erase(pending_.begin());
  }
  return out;
}

std::optional<View> Seat::first() {
  news_.store(false, std::memory_order_seq_cst);
  const std::lock_guard lock(mutex_);
  if (pending_.empty()) return std::nullopt;
  return pending_.front();
}

void Seat::take(View view) {
  view_ = std::move(view);
  const std::lock_guard lock(mutex_);
  std::erase_if(pending_, [this](const View& other) { return other.epoch <= view_.epoch; });
}

std::optional<View> Seat::entrance() {
  news_.store(false, std::memory_order_seq_cst);
  const std::lock_guard lock(mutex_);
  for (auto it = pending_.rbegin(); it != pending_.rend(); ++it) {
    if (std::find(it->joined.begin(), it->joined.end(), me_) == it->joined.end()) continue;
    op_ = it->enters_at;
    begun_.store(member::rounds_before(op_) + 1, std::memory_order_seq_cst);
    return *it;
  }
  return std::nullopt;
}

fabric::Ticket Seat::attempt(bool finishes) {
  const fabric::Ticket ticket = ticket_of(view_, op_);
  fabric::Attempt& at = words_.attempts[++newest_ % 4];
  at.ticket.store(0, std::memory_order_release);
  at.op.store(op_, std::memory_order_release);
  at.finishes.store(finishes ? 1 : 0, std::memory_order_release);
  at.ticket.store(ticket, std::memory_order_release);
  words_.newest.store(newest_, std::memory_order_release);
  return ticket;
}

void Seat::settle() {
  if (words_.taken.load(std::memory_order_relaxed) == view_.epoch.number) return;
  words_.taken.store(view_.epoch.number, std::memory_order_seq_cst);
  fabric::wake(words_.taken);  // newcomers may sleep on it
}

bool Seat::member() const {
  return std::find(view_.members.begin(), view_.members.end(), me_) != view_.members.end();
}

}  // namespace instep::round
