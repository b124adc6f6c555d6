#include "round/turn.h"

#include "base/failpoint.h"

namespace instep::round {

void Turn::begin_round(std::uint64_t round) {
  gather_ = begun_ = posted_ = false;
  seat_.begin_round(round);
  phase_ = Phase::kHeld;
  failpoint("round.begin");
}

void Turn::begin_gather(std::uint64_t round, bool repeated) {
  gather_ = true;
  begun_ = false;
  repeated_ = repeated;
  posted_ = seat_.begin_gather(round) == dropped_;
  phase_ = Phase::kTake;
  failpoint("gather.begin");
}

Turn::Step Turn::fail(const Error& error) {
  error_ = error;
  phase_ = Phase::kOver;
  return Step::kFailed;
}

Turn::Step Turn::take() {
  auto view = seat_.due();
  if (!view) {
    phase_ = gather_ ? Phase::kAttempt : begun_ ? Phase::kPost : Phase::kBegin;
    return Step::kAgain;
  }
  seat_.take(std::move(*view));
  failpoint("view.take");
  auto more = agent_.take_up(begun_);
  if (!more.ok()) return fail(more.error());
  failpoint("view.taken");
  if (!seat_.member()) {
    phase_ = Phase::kOver;
    if (begun_) {
      return fail({ErrorKind::kCorrupt, "a view leaves this agent out in the midst of a round"});
    }
    return Step::kLeft;
  }
  if (gather_ && !repeated_) {
    seat_.drop_gather();
    if (posted_) dropped_ = seat_.op();
    phase_ = Phase::kOver;
    return Step::kOthers;
  }
  due_ = std::move(*more);
  phase_ = gather_ || begun_ ? Phase::kAttempt : Phase::kBegin;
  return Step::kAgain;
}

Turn::Step Turn::step() {
  switch (phase_) {
    case Phase::kHeld:
      // Forgotten before the look: what comes from here on is news.
      seat_.forget_news();
      if (seat_.held()) return Step::kWaitNews;
      phase_ = Phase::kTake;
      return Step::kAgain;
    case Phase::kTake:
    case Phase::kLook:
      return take();
    case Phase::kBegin:
      agent_.begin_round();
      failpoint("round.booked");
      begun_ = true;
      due_ = agent_.shards();
      phase_ = Phase::kAttempt;
      return Step::kAgain;
    case Phase::kAttempt:
      // Said before the view is settled: a death in between counts as one under the view before.
      ticket_ = seat_.attempt(!gather_ && agent_.exchange().owner());
      failpoint(gather_ ? "gather.attempt" : "round.attempt");
      phase_ = Phase::kSettle;
      return Step::kAgain;
    case Phase::kSettle:
      seat_.settle();
      failpoint(gather_ ? "gather.settled" : "round.settled");
      at_ = 0;
      if (!gather_ && !due_.empty()) agent_.will_compute(due_);
      phase_ = gather_ ? Phase::kPost : Phase::kCompute;
      return Step::kAgain;
    case Phase::kCompute:
      if (at_ < due_.size()) {
        if (at_ + 1 == due_.size()) open();
        if (const Status status = agent_.compute(due_[at_++]); !status.ok()) {
          return fail(status.error());
        }
        failpoint("round.shard");
        return Step::kAgain;
      }
      phase_ = Phase::kLook;
      return Step::kAgain;
    case Phase::kPost: {
      Posted posted;
      if (gather_) {
        auto made = agent_.post_gather(ticket_, !posted_);
        if (!made.ok()) return fail(made.error());
        posted = *made;
        agent_.exchange().begin_gather(posted, member::participants(seat_.view(), seat_.op()));
      } else {
        posted = agent_.post_round(ticket_, !posted_);
        agent_.exchange().begin(posted, agent_.judging(), agent_.update());
      }
      failpoint(gather_ ? "gather.posted" : "round.posted");
      posted_ = true;
      phase_ = Phase::kExchange;
      return Step::kAgain;
    }
    case Phase::kExchange:
      return exchange();
    case Phase::kAwaitView:
      if (!seat_.is_due()) return Step::kWaitNews;
      phase_ = Phase::kLook;
      return Step::kAgain;
    case Phase::kOver:
      return Step::kDone;
  }
  return Step::kDone;
}

void Turn::open() {
  const auto posted = agent_.open_round(ticket_, !posted_);
  if (!posted) return;
  posted_ = true;
  agent_.exchange().open(*posted);
  failpoint("round.opened");
}

Turn::Step Turn::exchange() {
  if (seat_.is_due()) {
    phase_ = Phase::kLook;
    return Step::kAgain;
  }
  switch (agent_.exchange().step()) {
    case Exchange::Step::kAgain:
      return Step::kAgain;
    case Exchange::Step::kWait:
      return Step::kWaitWord;
    case Exchange::Step::kStale:
      phase_ = Phase::kAwaitView;
      return Step::kAgain;
    case Exchange::Step::kFailed:
      return fail(agent_.exchange().error());
    case Exchange::Step::kDone:
      phase_ = Phase::kOver;
      failpoint(gather_ ? "gather.done" : "round.done");
      return Step::kDone;
  }
  return Step::kDone;
}

}  // namespace instep::round
