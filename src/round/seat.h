// An agent's seat in a run that changes: which op it is at, under which view, and which views are
// waiting. Every decision about when a view begins for this agent is made here, without waiting and
// without sockets; the rounds ask, and whoever hears the coordinator tells.
//
// Threads: offer(), propose(), news() and goes() from any; the rest from the one that trains.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "fabric/host_memory.h"
#include "member/view.h"
#include "wire/message.h"

namespace instep::round {

// The ticket of an op under a view: the same on every member, whichever op it came in with.
fabric::Ticket ticket_of(const member::View& view, member::Op op);

class Seat {
 public:
  Seat(fabric::AgentWords& words, member::AgentId me) : words_(words), me_(me) {}

  // A view has come. Those that it overtakes are forgotten.
  void offer(member::View view);
  // The answer to a proposal. From a promise on held() is true at that round until a view comes
  // or the proposal is withdrawn (then nothing is to be answered).
  std::optional<wire::Promise> propose(const wire::Propose& proposal);
  // Rounds that the run has; none is begun after the last.
  void plan(std::uint64_t rounds) { rounds_.store(rounds); }

  // Whether due() would give a view now. Cheap while nothing has come.
  bool is_due();
  // The same, of what has come since anything was asked: for who waits without an op of its own.
  bool news() const { return news_.load(std::memory_order_seq_cst); }
  // Before who waits at its round looks whether it still has to; due() gives what has come.
  void forget_news() { news_.store(false, std::memory_order_seq_cst); }

  // Whether a view has come without this member that begins with the next round at the latest.
  bool goes(member::AgentId agent) const;

  // The next op: rounds and gathers in the order in which every member begins them.
  member::Op begin_round(std::uint64_t round);
  member::Op begin_gather(std::uint64_t round);
  // The gather under way is not made: the next one is the same op again, as it is for whoever hears
  // of fewer or more views meanwhile.
  void drop_gather() { --gathers_; }
  // Whether the round under way may not begin yet.
  bool held() const;
  // The newest view that begins at the op under way or before it, once.
  std::optional<member::View> due();
  // The newest view that has come, whatever it begins with: for who has no op yet.
  std::optional<member::View> first();
  // Goes over to a view that was due. One that I am no member of is the end of my part.
  void take(member::View view);
  // A newcomer's place: the newest view that it enters with, if there is one; take() makes it its
  // own.
  std::optional<member::View> entrance();

  // A new attempt at the op under way, under the view taken last. `finishes`: others will wait for
  // my `finished`.
  fabric::Ticket attempt(bool finishes);
  // After the first attempt under a view: all that was read under earlier ones is done with.
  void settle();

  const member::View& view() const { return view_; }
  member::Op op() const { return op_; }
  bool member() const;

 private:
  fabric::AgentWords& words_;
  const member::AgentId me_;
  member::View view_;
  member::Op op_ = 0;
  std::uint64_t gathers_ = 0, gathers_at_ = ~0ULL;  // begun since that many rounds
  std::uint32_t newest_ = 0;

  std::atomic<bool> news_ = false;
  std::atomic<std::uint64_t> rounds_ = ~0ULL;
  std::atomic<std::uint64_t> begun_ = 0;        // rounds: the newest begun, plus one
  std::atomic<std::uint64_t> barrier_ = ~0ULL;  // the round promised not to begin
  mutable std::mutex mutex_;
  std::vector<member::View> pending_;  // guarded by mutex_, ascending by first_op
};

}  // namespace instep::round
