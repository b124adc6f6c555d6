// A bridge's rounds: as coord/bridge_rounds.cc.
#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "bridge.h"
#include "host.h"
#include "round/book.h"
#include "round/seat.h"

namespace instep::sim {

using round::RelayFrame;

namespace {

constexpr std::uint64_t kPieceBytes = 6000;  // of a state: so that parts come in several

}  // namespace

void Bridge::view(const member::View& view) {
  loop_.post([this, view] {
    views_.push_back(view);
    if (!world_ || !relay_) return;
    const std::uint64_t due = relay_->due();
    offer(due - 1);
    offer(due);
    const member::View* oldest = member::view_in(views_, member::round_op(due == 0 ? 0 : due - 1));
    if (oldest != nullptr) {
      const std::uint32_t number = oldest->epoch.number;
      std::erase_if(views_, [number](const member::View& it) { return it.epoch.number < number; });
    }
    look_for_parts();
  });
}

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
  relay_->close();
  watch_.want(holds ? member::participants(*view, op) : std::vector<AgentId>(), ticket);
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
  for (const AgentId agent : member::participants(view, member::round_op(round))) {
    bool later = false;
    auto part = local_part(agent, ticket, round, later);
    if (!part.ok()) {
      return Error{part.error().kind, cat("agent ", agent, ": ", part.error().message)};
    }
    if (later) return {};
    whole = whole && part->pending.empty();
    parts.push_back(part.take());
  }
  if (!whole) {
    plan_.note("parts taken while others are computed");
    return relay_->open(round, std::move(parts));
  }
  INSTEP_RETURN_IF_ERROR(relay_->begin(round, std::move(parts), check_of_state(round)));
  return give(view);
}

Status Bridge::give(const member::View& view) {
  if (!gives() || std::exchange(given_, true)) return {};
  const std::uint64_t round = lineup_->first_round;
  const AgentId agent = member::participants(view, member::round_op(round)).front();
  INSTEP_ASSIGN_OR_RETURN(const round::Book book,
                          round::read_book(memory_.arena(agent), memory_.words(agent).book.load()));
  const bool begun = told_ > round && plan_.plant != Plant::kHalfState;
  if (book.round != round) {
    return Error{ErrorKind::kInternal, cat("the book of round ", book.round, " in ", round)};
  }
  plan_.note(begun ? "states given of a round that is begun" : "states given");
  for (const HostId newcomer : lineup_->newcomers) {
    round::give_state(
        lineup_->number, round, round::copy_book(book), memory_.state(), memory_.state_parts(round),
        begun,
        [&](const RelayFrame& frame, auto bytes, auto keeper) {
          peers_.send(newcomer, frame, bytes, std::move(keeper));
        },
        kPieceBytes);
  }
  return {};
}

Result<round::LocalPart> Bridge::local_part(AgentId agent, fabric::Ticket ticket,
                                            std::uint64_t round, bool& later) const {
  const std::span<const std::byte> memory = memory_.arena(agent);
  INSTEP_ASSIGN_OR_RETURN(const auto part, round::find_part(memory_.words(agent), memory, ticket));
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
  if (plan_.plant == Plant::kPending) std::fill(out.pending.begin(), out.pending.end(), 0);
  return out;
}

// The real one hashes what owners noted of their blocks; both are of the state that the round
// begins with.
std::uint64_t Bridge::check_of_state(std::uint64_t round) const {
  return xxh3(std::as_bytes(std::span(memory_.parameters(round), job_.space.elements())));
}

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
  if (plan_.plant == Plant::kWorldReused) {
    std::fill_n(world_->sum(*round, 0), job_.space.elements(), 0.0F);
  }
  if (world_->whole(*round)->directive == round::Directive::kStop) say(AllStop{});
  look_for_parts();
}

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

// Its payload must outlive the line-up: the relay's own memory is kept by the relay.
void Bridge::send(std::uint32_t to, const RelayFrame& frame, std::span<const std::byte> payload) {
  peers_.send(to, frame, payload, relay_);
}

// Until the hub says that all halt the other one may go on by a new link, and what was lost with
// the old one is missing: the link ends. Nothing else may bring that about.
Error Bridge::out_of_turn(HostId from, const Error& why) const {
  if (peers_.since(from) <= lined_up_at_) {
    throw Violation(why.message);
  }
  plan_.note("frames out of turn behind a break");
  return why;
}

Result<std::span<std::byte>> Bridge::place(HostId from, const RelayFrame& frame) {
  Arriving& it = arriving_[from];
  it.relay = relay_;
  it.taker = taker_;
  it.lineup = frame.lineup;
  if (round::is_state_frame(frame)) {
    if (taker_ && lineup_->donor == from && frame.lineup == lineup_->number) {
      auto place = taker_->place(frame);
      if (!place.ok()) throw Violation(place.error().message);
      return place;
    }
    if (lineup_ && frame.lineup >= halted_) {
      throw Violation(cat("host ", from, " sent a state that nobody wants"));
    }
  } else if (relay_) {
    if (plan_.plant == Plant::kOldLineup) it.lineup = std::max(frame.lineup, lineup_->number);
    RelayFrame as_taken = frame;
    as_taken.lineup = it.lineup;
    auto place = relay_->place(from, as_taken);
    if (!place.ok()) return out_of_turn(from, place.error());
    return place;
  }
  it.forgotten.resize(frame.bytes);
  return std::span(it.forgotten);
}

Status Bridge::took(HostId from, const RelayFrame& frame) {
  RelayFrame as_taken = frame;
  if (arriving_[from].relay == relay_) as_taken.lineup = arriving_[from].lineup;
  arriving_.erase(from);
  if (round::is_state_frame(frame)) {
    if (!taker_ || frame.lineup != lineup_->number) return {};
    if (const Status status = taker_->took(frame); !status.ok()) {
      throw Violation(status.error().message);
    }
    if (!taker_->whole()) return {};
    empty_ = false;
    first_round_ = taker_->round();
    told_ = first_round_ + 1;
    say(StateCame{taker_->take_book(), taker_->round()});
    taker_.reset();
    plan_.tell_hub(wire::HostStands{lineup_->number, first_round_, false});
    return {};
  }
  if (!relay_) return {};
  Status status = relay_->took(from, as_taken);
  if (!status.ok()) throw Violation(status.error().message);
  after_progress();
  return status;
}

void Bridge::peer_is_up(HostId /*peer*/) { took_if_connected(); }

void Bridge::peer_is_down(HostId peer) {
  arriving_.erase(peer);
  if (over_ || done_ || alone_ || !lineup_) return;
  if (member::part_of(*lineup_, peer) != nullptr) plan_.tell_hub(wire::HostBroken{peer});
}

}  // namespace instep::sim
