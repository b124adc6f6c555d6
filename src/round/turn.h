// An agent's turn: one op from its beginning to its end, through whatever views come meanwhile, as
// a step machine over an Exchange. What a round computes and how a view is taken up is the Agent's
// (the trainer's, or a simulator's); the order in which things are said is decided here.
//
// One step does one bounded piece of work or says what it waits for, so a simulator can stop or
// kill an agent between any two. Single-threaded, but for what Seat allows.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "round/exchange.h"
#include "round/seat.h"

namespace instep::round {

class Turn {
 public:
  class Agent {
   public:
    virtual ~Agent() = default;
    // seat.view() is another one: maps, owns and assigns by it. The shards that are mine now and
    // were not before; `in_round`: what is computed already stays as it is.
    virtual Result<std::vector<std::uint32_t>> take_up(bool in_round) = 0;
    // A round begins, under the view taken up last: restores full units, writes the book.
    virtual void begin_round() = 0;
    virtual Status compute(std::uint32_t shard) = 0;
    // Called once before the shards of each list, with all of them.
    virtual void will_compute(const std::vector<std::uint32_t>& shards) = 0;
    virtual const std::vector<std::uint32_t>& shards() const = 0;
    // The last of the shards is about to be computed: a mail of its own with an open part, into
    // which it will be settled; nothing where nobody reads one. `first`: of this op.
    virtual std::optional<Posted> open_round(fabric::Ticket ticket, bool first) = 0;
    // A mail of its own with all that was computed.
    virtual Posted post_round(fabric::Ticket ticket, bool first) = 0;
    virtual Judging judging() = 0;
    virtual Update* update() = 0;
    // The bytes of a gather as they are now, and their mail.
    virtual Result<Posted> post_gather(fabric::Ticket ticket, bool first) = 0;
    virtual Exchange& exchange() = 0;
  };

  enum class Step {
    kAgain,
    kWaitWord,  // awaited(), or is_due()
    kWaitNews,  // seat.news()
    kDone,      // the exchange's outcome, or what it gathered
    kLeft,      // the view has no place for this agent: nothing was done. In a gather, too, where a
                // death makes the view begin before the round at which it was to leave
    kOthers,    // of a gather that is not repeated: those who take part have changed
    kFailed,
  };
  enum class Phase {
    kHeld,      // a planned change is waited for
    kTake,      // a view that begins here
    kBegin,     // the book
    kAttempt,   // a ticket
    kSettle,    // earlier views are done with
    kCompute,   // shards, one a step
    kLook,      // whether a view has come meanwhile
    kPost,      // the mail
    kExchange,  // the exchange's own phases
    kAwaitView,
    kOver
  };

  Turn(Seat& seat, Agent& agent) : seat_(seat), agent_(agent) {}

  void begin_round(std::uint64_t round);
  // `repeated`: under every view that comes; else it ends in kOthers when one does.
  void begin_gather(std::uint64_t round, bool repeated);
  Step step();

  // After kWaitWord.
  const Exchange::Awaited& awaited() const { return agent_.exchange().awaited(); }
  Phase phase() const { return phase_; }
  const Error& error() const { return error_; }

 private:
  Step take();
  Step fail(const Error& error);
  Step exchange();
  void open();

  Seat& seat_;
  Agent& agent_;
  Phase phase_ = Phase::kOver;
  bool gather_ = false, repeated_ = false;
  bool begun_ = false;              // the round: what is mine is computed, or under way
  bool posted_ = false;             // something of this op
  member::Op dropped_ = ~0ULL;      // the gather dropped last that something was posted of
  std::vector<std::uint32_t> due_;  // shards to compute
  std::size_t at_ = 0;
  fabric::Ticket ticket_ = 0;
  Error error_;
};

}  // namespace instep::round
