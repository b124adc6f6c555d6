// A bridge's rounds: what its members published goes in, and what all hosts sum up to comes out.
#include <algorithm>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/text.h"
#include "coord/bridge.h"
#include "round/book.h"
#include "round/seat.h"

namespace instep::coord {

using round::RelayFrame;

void Bridge::view(const member::View& view) {
  loop_.post([this, view] {
    views_.push_back(view);
    if (!world_ || !relay_) return;
    const std::uint64_t due = relay_->due();
    // Its members may want what is there again, under another ticket.
    offer(due - 1);
    offer(due);
    // Rounds before the last that stands are over.
    const member::View* oldest = member::view_in(views_, member::round_op(due == 0 ? 0 : due - 1));
    if (oldest != nullptr) {
      const std::uint32_t number = oldest->epoch.number;
      std::erase_if(views_, [number](const member::View& it) { return it.epoch.number < number; });
    }
    look_for_parts();
  });
}

// Waits for the parts of the round that is due, under the view that holds in it, once that has just
// the shards that the line-up gives this host.
void Bridge::look_for_parts() {
  if (!went_ || !relay_ || relay_->behind() || relay_->under_way()) return;
  const member::Op op = member::round_op(relay_->due());
  const member::View* view = member::view_in(views_, op);
  const bool stale = view != nullptr && view->epoch.number <= stale_view_;
  const bool holds =
      view != nullptr && !stale && member::shards_here(*view) == mine_ && !view->members.empty();
  const fabric::Ticket ticket = holds ? round::ticket_of(*view, op) : 0;
  if (ticket == wanted_) return;
  wanted_ = ticket;
  relay_->close();  // whose parts are open under another view may be gone soon
  watch_->want(holds ? member::participants(*view, op) : std::vector<member::AgentId>(), ticket);
}

void Bridge::hear_of_parts(fabric::Ticket ticket) {
  if (ticket != wanted_ || !relay_ || relay_->under_way() || over_) return;
  const member::View* view = member::view_in(views_, member::round_op(relay_->due()));
  if (const Status status = begin_round(*view, ticket); !status.ok()) return fail(status.error());
  pump();
}

Status Bridge::begin_round(const member::View& view, fabric::Ticket ticket) {
  const std::uint64_t round = relay_->due();
  std::vector<round::LocalPart> parts;
  bool whole = true;
  for (const member::AgentId agent : member::participants(view, member::round_op(round))) {
    bool later = false;
    auto part = local_part(agent, ticket, round, later);
    if (!part.ok()) {
      return Error{part.error().kind, cat("agent ", agent, ": ", part.error().message)};
    }
    if (later) return {};  // it is under a view that has not come here yet
    whole = whole && part->pending.empty();
    parts.push_back(part.take());
  }
  if (!whole) return relay_->open(round, std::move(parts));
  INSTEP_RETURN_IF_ERROR(relay_->begin(round, std::move(parts), check_of_state(round)));
  return give(view);
}

// All members are in the round under a view of which nothing was told yet, so nobody steps a block:
// not before those that come in have computed their part of it. Under an earlier view some may
// have.
Status Bridge::give(const member::View& view) {
  if (!gives() || std::exchange(given_, true)) return {};
  const std::uint64_t round = lineup_->first_round;
  const member::AgentId agent = member::participants(view, member::round_op(round)).front();
  const fabric::Mapping& arena = arenas_.at(static_cast<std::size_t>(agent));
  const std::uint64_t at = fabric::control_page(control_)->agents[agent].book.load();
  INSTEP_ASSIGN_OR_RETURN(const round::Book book,
                          round::read_book({arena.data(), arena.size()}, at));
  INSTEP_ASSIGN_OR_RETURN(const auto parts, round::state_parts(ready_, round, state_.size()));
  const bool begun = told_ > round;
  if (book.round != round) {
    return Error{ErrorKind::kInternal, cat("the book of round ", book.round, " in ", round)};
  }
  for (const std::uint32_t newcomer : lineup_->newcomers) {
    round::give_state(lineup_->number, round, round::copy_book(book),
                      {state_.data(), state_.size()}, parts, begun,
                      [&](const RelayFrame& frame, auto bytes, auto keeper) {
                        peers_.send(newcomer, frame, bytes, std::move(keeper));
                      });
  }
  return {};
}

void Bridge::take_state() {
  if (!taker_->whole()) return;
  failpoint("state.came");
  empty_ = false;
  ready_.first_round = taker_->round();
  told_ = taker_->round() + 1;  // to members of the host that gave it
  say(StateCame{taker_->take_book(), taker_->round()});
  taker_.reset();
  plan_.tell_hub(wire::HostStands{lineup_->number, ready_.first_round, false});
}

Result<round::LocalPart> Bridge::local_part(member::AgentId agent, fabric::Ticket ticket,
                                            std::uint64_t round, bool& later) const {
  const fabric::Mapping& arena = arenas_.at(static_cast<std::size_t>(agent));
  const std::span<const std::byte> memory(arena.data(), arena.size());
  INSTEP_ASSIGN_OR_RETURN(
      const auto part,
      round::find_part(fabric::control_page(control_)->agents[agent], memory, ticket));
  round::LocalPart out;
  later = !part;
  if (later) return out;
  if (part->round != round) {
    return Error{ErrorKind::kCorrupt,
                 cat("a part is of round ", part->round, " and not of ", round)};
  }
  out.nodes.assign(part->nodes.begin(), part->nodes.end());
  out.rows.assign(part->rows.begin(), part->rows.end());
  out.directive = part->directive;
  const std::vector<reduce::Range>& tensors = world_->sums().tensors;
  INSTEP_RETURN_IF_ERROR(
      part->open ? round::add_open_sources(*part, memory, tensors, out.sources, out.pending)
                 : round::add_sources(*part, memory, tensors, out.sources));
  return out;
}

// What the owners' sums of the blocks sum up to, at the beginning of a round.
std::uint64_t Bridge::check_of_state(std::uint64_t round) const {
  const std::uint64_t at = (round & 1) == 0 ? ready_.checks_at_even : ready_.checks_at_odd;
  const std::uint64_t bytes = ready_.blocks * sizeof(std::uint64_t);
  if (at > state_.size() || bytes > state_.size() - at) return 0;
  return xxh3({state_.data() + at, static_cast<std::size_t>(bytes)});
}

// A chunk at a time, so that what arrives is taken in between.
void Bridge::pump() {
  const bool more = relay_ && relay_->step();
  after_progress();
  if (!more || pumping_) return;
  pumping_ = true;
  loop_.post([this] {
    pumping_ = false;
    pump();
  });
}

void Bridge::after_progress() {
  if (!relay_) return;
  const auto round = relay_->completed();
  if (!round) return offer(relay_->due());
  offer(*round);
  round_done(*round);
  if (world_->whole(*round)->directive == round::Directive::kStop) say(AllStop{});
  look_for_parts();
}

// What is there of a round, to those who are in it: all of it, or what is known before the sums.
void Bridge::offer(std::uint64_t round) {
  if (world_->known(round) == nullptr) return;
  const member::Op op = member::round_op(round);
  const member::View* view = member::view_in(views_, op);
  if (view == nullptr) return;
  const fabric::Ticket ticket = round::ticket_of(*view, op);
  const bool whole = world_->whole(round) != nullptr;
  told_ = std::max(told_, round + 1);
  if (whole && ticket > world_->published()) world_->publish(ticket, round);
  if (!whole && ticket > world_->told()) world_->tell(ticket, round);
}

void Bridge::send(std::uint32_t to, const RelayFrame& frame, std::span<const std::byte> payload) {
  peers_.send(to, frame, payload, keeper_);
}

Result<std::span<std::byte>> Bridge::place(std::uint32_t from, const RelayFrame& frame) {
  Arriving& it = arriving_[from];
  it.relay = relay_;
  it.taker = taker_;
  if (round::is_state_frame(frame)) {
    if (taker_ && lineup_->donor == from && frame.lineup == lineup_->number) {
      failpoint("state.comes");
      return taker_->place(frame);
    }
    if (lineup_ && frame.lineup >= halted_) {
      return Error{ErrorKind::kCorrupt, cat("host ", from, " sent a state that nobody wants")};
    }
  } else if (relay_) {
    return relay_->place(from, frame);
  }
  // It was sent under an earlier line-up.
  it.forgotten.resize(frame.bytes);
  return std::span(it.forgotten);
}

Status Bridge::took(std::uint32_t from, const RelayFrame& frame) {
  arriving_.erase(from);
  if (round::is_state_frame(frame)) {
    if (!taker_ || frame.lineup != lineup_->number) return {};
    INSTEP_RETURN_IF_ERROR(taker_->took(frame));
    take_state();
    return {};
  }
  if (!relay_) return {};
  Status status = relay_->took(from, frame);
  if (!status.ok() && status.error().kind == ErrorKind::kDamaged) {
    fail(status.error());
    return status;
  }
  after_progress();
  return status;
}

void Bridge::peer_is_up(std::uint32_t /*peer*/) { took_if_connected(); }

void Bridge::peer_is_down(std::uint32_t peer, const Error& /*why*/) {
  arriving_.erase(peer);
  if (over_ || done_ || alone_ || !lineup_) return;
  if (member::part_of(*lineup_, peer) != nullptr) plan_.tell_hub(wire::HostBroken{peer});
}

}  // namespace instep::coord
