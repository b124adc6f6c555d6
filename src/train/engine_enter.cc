// Coming into a run that is under way: what a newcomer takes over, and what members keep for it.
#include <unistd.h>

#include <cstring>

#include "base/failpoint.h"
#include "base/machine.h"
#include "base/text.h"
#include "fabric/wait.h"
#include "train/engine.h"

namespace instep::train {
namespace {

// The engine's part of a book's state, before the loop's.
struct StateHead {
  std::uint64_t updates = 0, counts = 0, loop_bytes = 0;
};

}  // namespace

void Engine::write_book() {
  const std::span<const std::byte> state = loop_state_;
  const std::vector<std::int64_t> counts = binding_.carried.counts();
  const StateHead head{updates_, counts.size(), state.size()};
  std::vector<std::byte> bytes(sizeof head + counts.size() * sizeof(std::int64_t) + state.size());
  std::byte* to = bytes.data();
  std::memcpy(to, &head, sizeof head);
  to += sizeof head;
  if (!counts.empty()) std::memcpy(to, counts.data(), counts.size() * sizeof(std::int64_t));
  to += counts.size() * sizeof(std::int64_t);
  if (!state.empty()) std::memcpy(to, state.data(), state.size());
  failpoint("book.before_commit");
  book_.commit(round_, bytes);
  failpoint("book.after_commit");
}

// What is behind it of the book's state is the loop's.
Result<std::span<const std::byte>> Engine::restore(const round::Book& book) {
  StateHead head;
  const Error broken{ErrorKind::kMismatch, "the state of the run does not fit this program"};
  if (book.state.size() < sizeof head) return broken;
  std::memcpy(&head, book.state.data(), sizeof head);
  const std::span<const std::byte> rest = book.state.subspan(sizeof head);
  if (head.counts > rest.size() / sizeof(std::int64_t) ||
      head.loop_bytes != rest.size() - head.counts * sizeof(std::int64_t)) {
    return broken;
  }
  std::vector<std::int64_t> counts(head.counts);
  if (!counts.empty()) std::memcpy(counts.data(), rest.data(), counts.size() * sizeof(counts[0]));
  INSTEP_RETURN_IF_ERROR(binding_.carried.set_counts(counts));
  round_ = book.round;
  updates_ = head.updates;
  return rest.subspan(counts.size() * sizeof(counts[0]));
}

// The donor's book of the round at which the view lets newcomers in: the donor commits it before it
// begins the round under the view, and goes no further without us. `overtaken`: another view says
// otherwise.
Result<std::vector<std::byte>> Engine::book_for(const member::View& view, bool& overtaken) {
  if (view.donor < 0) return session_.book_of(view.epoch.number, overtaken);
  fabric::AgentWords& theirs = session_.words_of(view.donor);
  const std::uint32_t number = view.epoch.number;
  const fabric::Ticket entry = round::ticket_of(view, view.enters_at);
  // A donor that hangs is found by those who wait for it.
  busy(fabric::Busy::kWaiting);
  while (true) {
    // A view that follows a death may begin before the round that lets us in, and one that follows
    // this one may not let us in at all.
    const fabric::Standing stands = fabric::standing(theirs);
    if (stands.view == number && stands.op >= view.enters_at) break;
    beat();
    if (seat_.news()) {
      busy(fabric::Busy::kOutside);
      overtaken = true;
      return std::vector<std::byte>();
    }
    if (!session_.stop_reason().empty() && session_.coordinator_gone()) {
      return Error{ErrorKind::kUnavailable, "the coordinator is gone"};
    }
    if (stands.view > number) {
      INSTEP_RETURN_IF_ERROR(session_.wait_for_news());
    } else if (stands.view < number) {
      fabric::wait_at_least(theirs.taken, number, session_.words().waiting, {1000, 1});
    } else {
      fabric::wait_at_least(theirs.published, entry, session_.words().waiting, {1000, 1});
    }
  }
  busy(fabric::Busy::kOutside);
  failpoint("join.donated");
  INSTEP_ASSIGN_OR_RETURN(const auto arena, session_.arena_of(view.donor));
  INSTEP_ASSIGN_OR_RETURN(const round::Book book,
                          round::read_book(arena, theirs.book.load(std::memory_order_acquire)));
  return round::copy_book(book);
}

Result<std::optional<Handover>> Engine::enter() {
  while (true) {
    std::optional<member::View> view = seat_.entrance();
    if (!view) {
      if (!session_.stop_reason().empty()) return std::optional<Handover>();
      INSTEP_RETURN_IF_ERROR(session_.wait_for_news());
      continue;
    }
    failpoint("join.view");
    bool overtaken = false;
    INSTEP_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, book_for(*view, overtaken));
    if (overtaken) continue;
    INSTEP_ASSIGN_OR_RETURN(const round::Book book, round::read_book(bytes, 0));
    if (member::round_op(book.round) != view->enters_at) {
      return Error{ErrorKind::kMismatch,
                   cat("the state taken over is of round ", book.round, " and not of ",
                       member::rounds_before(view->enters_at))};
    }
    failpoint("join.book");
    // It started beside those who train and took only what they left; from here on it is one of
    // them.
    leave_idle(::getpid());
    INSTEP_ASSIGN_OR_RETURN(const auto loops, restore(book));
    failpoint("join.restored");
    seat_.take(std::move(*view));
    INSTEP_ASSIGN_OR_RETURN(const auto shards, take_up(false));
    (void)shards;
    point_at_parameters();
    failpoint("join.entered");
    Handover out;
    out.state.assign(loops.begin(), loops.end());
    out.history.assign(book.history.begin(), book.history.end());
    out.log.assign(book.log.begin(), book.log.end());
    return std::optional<Handover>(std::move(out));
  }
}

}  // namespace instep::train
