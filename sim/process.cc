#include "process.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace instep::sim {

using fabric::Busy;
using reduce::kBlockElements;
using round::Turn;

Process::Process(Host& host, AgentId me, double slowness)
    : host_(host),
      job_(host.job),
      me_(me),
      slowness_(slowness),
      arena_(host.memory.arena(me)),
      seat_(std::make_unique<round::Seat>(host.memory.words(me), me)),
      turn_(*seat_, *this) {
  tear = [](std::uint64_t elements) { return elements; };
}

// A process does not clean up when it dies: what it left open stays so.
Process::~Process() {
  const std::uint64_t at = words().undo_at.load();
  const std::uint64_t open = words().undo_open.load();
  undo_.reset();
  words().undo_at.store(at);
  words().undo_open.store(open);
}

Nap Process::run(Nanoseconds time) {
  Random& random = host_.random;
  // Now and then somebody else has the processor.
  if (random.below(600) == 0) time += static_cast<Nanoseconds>(random.below(3 * kMillisecond));
  return {time / 2 + static_cast<Nanoseconds>(random.below(static_cast<std::uint64_t>(time))),
          nullptr, false};
}

void Process::busy(Busy what) {
  words().busy.store(static_cast<std::uint32_t>(what), std::memory_order_relaxed);
  beat();
}

Nap Process::fail(const Error& error) {
  throw Violation(cat("agent ", me_, " fails in round ", round_, ": ", error.message));
}

void Process::hear(const wire::Message& message) {
  if (const auto* welcome = std::get_if<wire::Welcome>(&message)) {
    welcomed_ = true;
    joining_ = welcome->joining;
  } else if (const auto* it = std::get_if<wire::ViewMessage>(&message)) {
    auto view = member::from_message(*it);
    const Status valid =
        view.ok() ? member::validate(*view, job_.shards, job_.space.blocks()) : view.status();
    if (!valid.ok()) throw Violation(cat("agent ", me_, " hears: ", valid.error().message));
    seat_->offer(view.take());
  } else if (const auto* proposal = std::get_if<wire::Propose>(&message)) {
    if (const auto answer = seat_->propose(*proposal)) host_.send(me_, *answer);
  } else if (const auto* stop = std::get_if<wire::StopRequest>(&message)) {
    stop_asked_ = true;
    if (stop->reason.rfind("failed", 0) == 0) may_leave_ = false;
  }
}

bool Process::terminate() {
  if (!std::exchange(may_leave_, false)) return false;
  host_.send(me_, wire::Leaving{});
  return true;
}

Nap Process::step() {
  if (torn()) {
    update_->go_on();
    return run(3 * kMicrosecond);
  }
  switch (stage_) {
    case Stage::kStart: {
      wire::Hello hello;
      hello.agent = me_;
      hello.fingerprint = {{"build", "simulated"}};
      host_.send(me_, hello);
      stage_ = Stage::kAwaitWelcome;
      return {kSlice, nullptr, true};
    }
    case Stage::kAwaitWelcome:
      if (!welcomed_) return {kSlice, nullptr, true};
      stage_ = Stage::kShare;
      return run(2 * kMillisecond);
    case Stage::kShare:
      return share();
    case Stage::kAwaitView:
      return await_view();
    case Stage::kEnter:
      return enter();
    case Stage::kAwaitBook:
      return await_book();
    case Stage::kNext:
      return next();
    case Stage::kTurn:
      return wait_ == Wait::kNone ? turn_step() : wait_step();
    case Stage::kReport:
      may_leave_ = false;
      host_.send(me_, wire::Done{"{}"});
      stage_ = Stage::kDone;
      return run(50 * kMicrosecond);
    case Stage::kDone:
      return {kSecond, nullptr, false};
  }
  return {};
}

Nap Process::next() {
  if (!member_) {
    stage_ = Stage::kReport;
    return run(20 * kMicrosecond);
  }
  if (!tallied_) return begin(Op::kTally);
  if (due_gathers_ > 0) return begin(Op::kMeasure);
  return begin(!stopped_ && round_ < job_.rounds ? Op::kRound : Op::kFinish);
}

Nap Process::begin(Op op) {
  op_ = op;
  mine_.clear();
  if (op == Op::kRound) {
    busy(Busy::kComputing);
    turn_.begin_round(round_);
    host_.round_begun(me_, round_);
  } else if (op == Op::kTally) {
    // Of those that will take part, as they are known before.
    const auto all = member::participants(seat_->view(), seat_->op());
    const auto place =
        static_cast<std::size_t>(std::find(all.begin(), all.end(), me_) - all.begin());
    std::vector<std::uint64_t> share(notes_.log.size());
    for (std::size_t i = 0; i < share.size(); ++i) {
      if (i % all.size() == place) share[i] = notes_.log[i];
    }
    const auto bytes = std::as_bytes(std::span(share));
    mine_.assign(bytes.begin(), bytes.end());
    turn_.begin_gather(round_, false);
  } else {
    turn_.begin_gather(round_, true);
  }
  stage_ = Stage::kTurn;
  return run(2 * kMicrosecond);
}

Nap Process::turn_step() {
  const bool computing = turn_.phase() == Turn::Phase::kCompute;
  host_.note_phase(turn_.phase());
  if (turn_.phase() == Turn::Phase::kExchange) host_.note_phase(exchange_->phase());
  const Turn::Step step = turn_.step();
  if (step == Turn::Step::kAgain) {
    if (torn()) return run(host_.random.below(4) == 0 ? kMillisecond : 10 * kMicrosecond);
    const auto work = static_cast<Nanoseconds>(slowness_ * 150 * kMicrosecond);
    return run(computing ? work : 3 * kMicrosecond);
  }
  if (step != Turn::Step::kWaitWord && step != Turn::Step::kWaitNews) return after(step);
  was_busy_ = words().busy.exchange(static_cast<std::uint32_t>(Busy::kWaiting));
  wait_ = step == Turn::Step::kWaitWord ? Wait::kLook : Wait::kNews;
  return wait_step();
}

// As round::Runner and fabric::wait_at_least().
Nap Process::wait_step() {
  const bool for_news = wait_ == Wait::kNews || wait_ == Wait::kHeard;
  const auto awaited = for_news ? round::Exchange::Awaited{} : exchange_->awaited();
  const auto there = [&] { return awaited.word->load() >= awaited.ticket; };
  switch (wait_) {
    case Wait::kNone:
      break;
    case Wait::kLook:
      asleep_on_ = awaited.word;
      if (seat_->is_due() || there()) return woken();
      wait_ = Wait::kRaise;
      return run(2 * kMicrosecond);
    case Wait::kRaise:
      words().waiting.store(1);
      wait_ = Wait::kAgain;
      if (host_.plant == Plant::kFlagAfterLook) {
        wait_ = Wait::kAsleep;
        return {kSlice, awaited.word, false};
      }
      return run(kMicrosecond);
    case Wait::kAgain:
      wait_ = Wait::kAsleep;
      if (there()) {
        timed_out = false;
        return wait_step();
      }
      return {kSlice, awaited.word, false};
    case Wait::kAsleep:
      words().waiting.store(0);
      if (there()) {
        if (timed_out) throw Violation(cat("agent ", me_, " sleeps on a word that is there"));
        return woken();
      }
      beat();
      wait_ = Wait::kLook;
      return run(kMicrosecond);
    case Wait::kNews:
      wait_ = Wait::kHeard;
      if (!seat_->news()) {
        spins_ = 0;
        return {kSlice, nullptr, true};
      }
      if (++spins_ > 500) throw Violation(cat("agent ", me_, " spins while it waits for news"));
      return woken();
    case Wait::kHeard:
      return woken();
  }
  return {};
}

Nap Process::woken() {
  asleep_on_ = nullptr;
  wait_ = Wait::kNone;
  beat();
  words().busy.store(was_busy_);
  return run(2 * kMicrosecond);
}

Nap Process::after(Turn::Step step) {
  stage_ = Stage::kNext;
  if (step == Turn::Step::kFailed) return fail(turn_.error());
  if (op_ == Op::kRound) busy(Busy::kOutside);
  if (step == Turn::Step::kLeft) {
    host_.counts.note(op_ == Op::kRound ? "left" : "left in a gather");
    return run(10 * kMicrosecond);
  }
  if (op_ == Op::kRound) return done_round();
  beat();
  if (step == Turn::Step::kOthers) {
    host_.counts.note("gather repeated");
    return run(5 * kMicrosecond);
  }
  const auto all = exchange_->gathered();
  const auto parties = member::participants(seat_->view(), seat_->op());
  if (all.size() != parties.size()) throw Violation(cat("agent ", me_, ": a gather lacks parts"));
  switch (op_) {
    case Op::kFill:
      seat_->plan(job_.rounds);
      may_leave_ = true;
      check_state(0);
      break;
    case Op::kTally: {
      std::vector<std::uint64_t> sum(notes_.log.size());
      for (const auto& bytes : all) {
        if (bytes.size() != sum.size() * sizeof(std::uint64_t)) {
          throw Violation(cat("agent ", me_, ": a member's ledger has another size"));
        }
        std::vector<std::uint64_t> part(sum.size());
        if (!part.empty()) std::memcpy(part.data(), bytes.data(), bytes.size());
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
      }
      note_epoch(notes_, tally(sum));
      tallied_ = true;
      book_->clear_log();
      book_->set_history(std::as_bytes(std::span(notes_.history)));
      due_gathers_ = mix(job_.seed, 20, round_) % 3;
      break;
    }
    case Op::kMeasure:
      --due_gathers_;
      break;
    case Op::kFinish:
      if (all.front().empty()) throw Violation(cat("agent ", me_, ": nobody reports"));
      stage_ = Stage::kReport;
      break;
    case Op::kRound:
      break;
  }
  return run(5 * kMicrosecond);
}

namespace {

bool same_bits(const void* a, const void* b, std::uint64_t floats) {
  return std::memcmp(a, b, floats * sizeof(float)) == 0;
}

bool same(double a, double b) { return a == b || (a != a && b != b); }

}  // namespace

Nap Process::done_round() {
  const round::Outcome& mine = exchange_->outcome();
  const round::Outcome& truth = host_.oracle.outcome(round_);
  const auto complain = [&](const char* what) {
    throw Violation(cat("agent ", me_, " completes round ", round_, " with another ", what));
  };
  if (mine.applied != truth.applied || mine.bad_shard != truth.bad_shard) complain("verdict");
  if (mine.samples != truth.samples || !same(mine.loss, truth.loss)) complain("loss");
  // Nobody waits for one that leaves: what it still reads may be of the next round.
  const bool leaves = host_.left_out(me_);
  if (!leaves && truth.applied && !same(mine.gradient_norm, truth.gradient_norm)) complain("norm");
  for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
    const round::ShardRow& a = mine.rows[shard];
    const round::ShardRow& b = truth.rows[shard];
    if (a.shard != b.shard || a.samples != b.samples || a.drawn != b.drawn ||
        !same(a.loss, b.loss)) {
      complain("row of a shard");
    }
  }
  note_round(notes_, job_, mine);
  if (host_.plant == Plant::kCountTwice && mine.applied && seat_->view().first_op == seat_->op()) {
    notes_.state.samples += mine.rows.front().samples;
  }
  if (mine.applied) book_->append(std::as_bytes(std::span(&notes_.log.back(), 1)));
  ++round_;
  if (mine.directive == round::Directive::kStop) stopped_ = true;
  if (!leaves) check_state(round_);
  host_.round_done(me_, round_);
  tallied_ = round_ % job_.rounds_per_epoch != 0;
  return run(10 * kMicrosecond);
}

// The parameters at the beginning of a round, and the moments: of blocks that are stamped for the
// round they are those of its end already.
void Process::check_state(std::uint64_t round, bool enters) const {
  const Truth& truth = host_.oracle.at(round);
  const Truth& next = host_.oracle.at(round + 1);
  const auto compare = [&](const float* mine, const std::vector<float>& theirs, const char* what,
                           std::uint64_t block) {
    const std::uint64_t at = block * kBlockElements;
    if (same_bits(mine + at, theirs.data() + at, kBlockElements)) return;
    throw Violation(cat("agent ", me_, " at round ", round, ": other ", what, " in block ", block,
                        " of ", job_.space.blocks()));
  };
  for (std::uint64_t block = 0; block < job_.space.blocks(); ++block) {
    compare(host_.memory.parameters(round), truth.parameters, "parameters", block);
    if (block * kBlockElements >= job_.carried_begin) continue;
    const bool stepped = host_.memory.stamps()[block].load() == round::stamp_of(round);
    // Where all hosts' sums are there, others who enter do not wait to step theirs.
    if (enters && host_.hosted && !stepped) continue;
    for (std::size_t i = 0; i < static_cast<std::size_t>(job_.moments); ++i) {
      compare(host_.memory.moment(static_cast<int>(i)), (stepped ? next : truth).moment[i],
              "moments", block);
    }
  }
}

}  // namespace instep::sim
