// How a simulated process comes to take part: as train::Session and train::Engine.
#include <cstring>

#include "base/failpoint.h"
#include "base/text.h"
#include "process.h"

namespace instep::sim {

using fabric::Busy;

// As Session::map_memory() and Engine::start().
Nap Process::share() {
  for (auto& mail : words().mail) mail.store(0);
  for (fabric::Attempt& at : words().attempts) at.ticket.store(0);
  for (auto* word : {&words().published, &words().judged, &words().finished, &words().saved,
                     &words().taken, &words().undo_at, &words().undo_open, &words().book}) {
    word->store(0);
  }
  words().waiting.store(0);
  words().busy.store(0);
  (void)arena_.take(1);
  gradients_ = std::make_unique<Gradients>(job_, arena_);
  Memory& memory = host_.memory;
  std::vector<const float*> stepped;
  for (int i = 0; i < job_.moments; ++i) stepped.push_back(memory.moment(i));
  undo_ =
      std::make_unique<round::UndoSlot>(arena_, words(), memory.state().data(), std::move(stepped),
                                        memory.stamps(), job_.unit_elements);
  book_ = std::make_unique<round::BookWriter>(arena_, words());
  wire::Ready ready;
  ready.job_json = "{}";
  ready.job_hash = "job";
  ready.shards = job_.shards;
  ready.blocks = job_.space.blocks();
  ready.owners = "all";
  ready.state_hash = "state";
  host_.send(me_, ready);
  stage_ = joining_ ? Stage::kEnter : Stage::kAwaitView;
  return run(100 * kMicrosecond);
}

Nap Process::await_view() {
  auto view = seat_->first();
  if (!view) return {kSlice, nullptr, true};
  seat_->take(std::move(*view));
  failpoint("start.view");
  const auto shards = take_up(false);
  if (!shards.ok()) return fail(shards.error());
  if (!member_) {
    stage_ = Stage::kEnter;
    return run(50 * kMicrosecond);
  }
  return begin(Op::kFill);
}

Nap Process::enter() {
  entrance_ = seat_->entrance();
  if (!entrance_) {
    if (!stop_asked_) {
      beat();
      return {kSlice, nullptr, true};
    }
    stage_ = Stage::kReport;
    return run(50 * kMicrosecond);
  }
  failpoint("join.view");
  if (entrance_->donor < 0) {
    // As where a newer view has brought another book since: that view is the one to enter under.
    if (host_.book_view > entrance_->epoch.number) return run(20 * kMicrosecond);
    if (host_.book_view != entrance_->epoch.number) {
      throw Violation(cat("agent ", me_, " has no book for view ", entrance_->epoch.number));
    }
    return take_book(host_.book);
  }
  stage_ = Stage::kAwaitBook;
  return run(20 * kMicrosecond);
}

Nap Process::await_book() {
  const fabric::AgentWords& theirs = host_.memory.words(entrance_->donor);
  const fabric::Standing stands = fabric::standing(theirs);
  const bool there = stands.view == entrance_->epoch.number && stands.op >= entrance_->enters_at;
  if (!there && host_.plant != Plant::kOldBook) {
    busy(Busy::kWaiting);
    if (!seat_->news()) return {kMillisecond, &theirs.taken, false};
    busy(Busy::kOutside);
    stage_ = Stage::kEnter;
    return run(20 * kMicrosecond);
  }
  busy(Busy::kOutside);
  const auto book = round::read_book(host_.memory.arena(entrance_->donor),
                                     theirs.book.load(std::memory_order_acquire));
  if (!book.ok()) return fail(book.error());
  return take_book(round::copy_book(*book));
}

Nap Process::take_book(const std::vector<std::byte>& bytes) {
  const auto book = round::read_book(bytes, 0);
  if (!book.ok()) return fail(book.error());
  if (host_.plant != Plant::kOldBook && member::round_op(book->round) != entrance_->enters_at) {
    return fail({ErrorKind::kMismatch, cat("the book is of round ", book->round)});
  }
  failpoint("join.book");
  const auto words_of = [](std::span<const std::byte> from) {
    std::vector<std::uint64_t> out(from.size() / sizeof(std::uint64_t));
    if (!out.empty()) std::memcpy(out.data(), from.data(), from.size());
    return out;
  };
  INSTEP_CHECK(book->state.size() == sizeof notes_.state, "a book's state has its size");
  std::memcpy(&notes_.state, book->state.data(), sizeof notes_.state);
  notes_.history = words_of(book->history);
  notes_.log = words_of(book->log);
  if (host_.plant == Plant::kForgetCarried) notes_.state.counts = 0;
  if (host_.plant == Plant::kForgetBook) notes_.log.clear();
  round_ = member::rounds_before(entrance_->enters_at);
  seat_->take(std::move(*entrance_));
  const auto shards = take_up(false);
  if (!shards.ok()) return fail(shards.error());
  book_->set_history(book->history);
  book_->append(book->log);
  seat_->plan(job_.rounds);
  check_state(round_, true);
  may_leave_ = true;
  stage_ = Stage::kNext;
  host_.counts.note("entered");
  return run(50 * kMicrosecond);
}

}  // namespace instep::sim
