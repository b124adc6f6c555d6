// What a relay takes from other hosts, and what it answers.
#include <algorithm>

#include "base/text.h"
#include "round/relay.h"
#include "round/relay_rows.h"

namespace instep::round {

using reduce::Range;

namespace {

std::vector<std::uint32_t> all_shards(std::uint32_t count) {
  std::vector<std::uint32_t> out(count);
  for (std::uint32_t shard = 0; shard < count; ++shard) out[shard] = shard;
  return out;
}

std::size_t number_of(const Piece& piece, std::span<const Piece> pieces) {
  return static_cast<std::size_t>(&piece - pieces.data());
}

}  // namespace

// Of the flat space, as a donor sends it.
Range Relay::chunk_from(std::uint64_t begin) const {
  return {begin, std::min(setup_.chunk_elements, world_.sums().elements - begin)};
}

Relay::Peer* Relay::peer(std::uint32_t id) {
  const auto found =
      std::find_if(peers_.begin(), peers_.end(), [id](const Peer& it) { return it.host.id == id; });
  return found == peers_.end() ? nullptr : &*found;
}

std::span<std::byte> Relay::buffer(std::uint32_t from, const RelayFrame& frame) {
  std::vector<std::byte>& buffer = buffers_[from];
  if (buffer.size() < frame.bytes) buffer.resize(frame.bytes);
  return std::span(buffer.data(), frame.bytes);
}

bool Relay::fits(const RelayFrame& frame, const Range& range, Form form) const {
  return range.count > 0 && frame.at == range.begin && frame.bytes == packing_.bytes(range, form);
}

// That the frame brings; null if it brings none of these.
const Piece* Relay::piece_of(const RelayFrame& frame, std::span<const Piece> pieces,
                             Form form) const {
  const Piece* piece = piece_at(pieces, frame.at);
  return piece != nullptr && fits(frame, piece->range, form) ? piece : nullptr;
}

Result<std::span<std::byte>> Relay::place(std::uint32_t from, const RelayFrame& frame) {
  const auto broken = [&](const char* what) {
    return Error{ErrorKind::kCorrupt, cat("host ", from, " sent ", what)};
  };
  if (frame.lineup < setup_.lineup) return buffer(from, frame);
  Peer* it = peer(from);
  if (frame.lineup > setup_.lineup || it == nullptr) return broken("a frame of another line-up");
  switch (frame.kind) {
    case RelayFrame::Kind::kHead: {
      const bool second = it->headed == frame.round;
      if (second || !takes_beginning(*it, frame.round)) {
        return broken("the beginning of a round out of turn");
      }
      it->head.resize(frame.bytes);
      return std::span(it->head);
    }
    case RelayFrame::Kind::kSums:
      return place_sums(*it, frame);
    case RelayFrame::Kind::kWhole:
      return place_whole(*it, frame);
    case RelayFrame::Kind::kWant:
      if (frame.bytes != 0 || frame.round + 1 != setup_.first_round ||
          world_.whole(frame.round) == nullptr) {
        return broken("a request for a round that is not here");
      }
      return std::span<std::byte>();
    case RelayFrame::Kind::kRows:
      if (!behind_ || from != *setup_.donor || frame.round + 1 != due_) {
        return broken("rows that nobody asked for");
      }
      rows_in_.resize(frame.bytes);
      return std::span(rows_in_);
  }
  return broken("a frame of no known kind");
}

Result<std::span<std::byte>> Relay::place_sums(Peer& from, const RelayFrame& frame) {
  const Piece* piece = frame.index < from.nodes.size()
                           ? piece_of(frame, my_pieces_, form_of(from.nodes[frame.index]))
                           : nullptr;
  if (piece == nullptr || !takes_beginning(from, frame.round) ||
      from.taken[frame.index][number_of(*piece, my_pieces_)] != 0) {
    return Error{ErrorKind::kCorrupt, cat("host ", from.host.id, " sent sums out of turn")};
  }
  if (coded_) return buffer(from.host.id, frame);
  return std::as_writable_bytes(
      std::span(from.inbox[frame.index].get() + piece->within, piece->range.count));
}

bool Relay::caught_up_by(const Peer& from, const RelayFrame& frame) const {
  return behind_ && frame.round + 1 == due_ && from.host.id == *setup_.donor;
}

Result<std::span<std::byte>> Relay::place_whole(Peer& from, const RelayFrame& frame) {
  const auto broken = [&](const char* what) {
    return Error{ErrorKind::kCorrupt, cat("host ", from.host.id, " sent ", what)};
  };
  if (frame.index >= targets_.size()) return broken("sums that nobody wants");
  if (caught_up_by(from, frame)) {
    if (!fits(frame, chunk_from(caught_[frame.index]), Form::kFlat)) {
      return broken("a round's sums out of turn");
    }
  } else {
    const Piece* piece = piece_of(frame, from.pieces, whole_form());
    if (!under_way_ || frame.round != due_ || piece == nullptr ||
        from.whole[frame.index][number_of(*piece, from.pieces)] != 0) {
      return broken("whole sums out of turn");
    }
  }
  // Not to its place: a frame may end late, when members read what another line-up has brought.
  return buffer(from.host.id, frame);
}

Status Relay::took(std::uint32_t from, const RelayFrame& frame) {
  Peer* it = peer(from);
  if (frame.lineup != setup_.lineup || it == nullptr) return {};
  switch (frame.kind) {
    case RelayFrame::Kind::kHead:
      INSTEP_RETURN_IF_ERROR(take_head(*it, frame.round));
      // Not of a bad one: others go on before its link is closed, and a round is made of heads.
      it->headed = frame.round;
      look_at_heads();
      break;
    case RelayFrame::Kind::kSums:
      take_sums(*it, frame);
      break;
    case RelayFrame::Kind::kWhole:
      take_whole(*it, frame);
      break;
    case RelayFrame::Kind::kWant:
      answer(from);
      return {};
    case RelayFrame::Kind::kRows:
      INSTEP_RETURN_IF_ERROR(take_rows(from));
      break;
  }
  combine_ready();
  finish_if_whole();
  return {};
}

void Relay::take_sums(Peer& from, const RelayFrame& frame) {
  const Piece& piece = *piece_at(my_pieces_, frame.at);
  if (coded_) {
    packing_.unpack(piece.range, form_of(from.nodes[frame.index]), buffers_[from.host.id].data(),
                    from.inbox[frame.index].get() + piece.within);
  }
  const std::size_t number = number_of(piece, my_pieces_);
  from.taken[frame.index][number] = 1;
  arrived(number);
}

void Relay::take_whole(Peer& from, const RelayFrame& frame) {
  if (caught_up_by(from, frame)) return take_old(frame, buffers_[from.host.id].data());
  const Piece& piece = *piece_at(from.pieces, frame.at);
  const std::byte* buffered = buffers_[from.host.id].data();
  if (coded_) {
    unpack_whole(piece.range, buffered);
  } else {
    world_.put(frame.round, frame.index, piece.range, reinterpret_cast<const float*>(buffered));
  }
  const std::size_t number = number_of(piece, from.pieces);
  from.whole[frame.index][number] = 1;
  --from.whole_left;
  const bool all = std::all_of(from.whole.begin(), from.whole.end(),
                               [number](const auto& of_target) { return of_target[number] != 0; });
  if (all) world_.arrived(frame.round, piece.range);
}

// Of the round that the donor has completed.
void Relay::take_old(const RelayFrame& frame, const std::byte* buffered) {
  const Range chunk = chunk_from(caught_[frame.index]);
  world_.put(frame.round, frame.index, chunk, reinterpret_cast<const float*>(buffered));
  const std::uint64_t before = *std::min_element(caught_.begin(), caught_.end());
  caught_[frame.index] += chunk.count;
  const std::uint64_t now = *std::min_element(caught_.begin(), caught_.end());
  if (now > before) world_.arrived(frame.round, {before, now - before});
  finish_catching_up();
}

// Whether it may send of that round: it has begun it before, or can have completed the one before.
bool Relay::takes_beginning(Peer& from, std::uint64_t round) {
  if (from.begun == round) return true;
  const std::uint64_t expected = from.begun ? *from.begun + 1 : setup_.first_round;
  const bool early = round > due_ && (!under_way_ || combined_ < my_pieces_.size());
  if (round != expected || round > due_ + 1 || early) return false;
  // A round's head comes before the next round's sums.
  if (from.begun && from.headed != from.begun) return false;
  from.begun = round;
  for (auto& of_node : from.taken) std::fill(of_node.begin(), of_node.end(), 0);
  return true;
}

Status Relay::take_head(Peer& from, std::uint64_t round) {
  if (round == due_) return use_head(from);
  return read_rows(from.head, from.host.shards, from.nodes.size() * tensors_.size()).status();
}

Status Relay::use_head(Peer& from) {
  auto read = read_rows(from.head, from.host.shards, from.nodes.size() * tensors_.size());
  if (!read.ok()) {
    return Error{read.error().kind, cat("host ", from.host.id, ": ", read.error().message)};
  }
  for (const ShardRow& row : read->rows) rows_[row.shard] = row;
  std::copy(read->flags.begin(), read->flags.end(),
            there_.begin() + static_cast<std::ptrdiff_t>(from.first_input * tensors_.size()));
  if (from.host.id == setup_.hosts.front().id) directive_ = read->directive;
  from.check = read->check;
  return under_way_ ? compare(from) : Status();
}

Status Relay::compare(const Peer& peer) const {
  if (peer.check == check_) return {};
  return Error{ErrorKind::kDamaged,
               cat("hosts ", setup_.me, " and ", peer.host.id,
                   " do not hold the same state at the beginning of round ", due_)};
}

Status Relay::take_rows(std::uint32_t from) {
  auto read =
      read_rows(rows_in_, all_shards(world_.sums().shards), targets_.size() * tensors_.size());
  if (!read.ok()) {
    return Error{read.error().kind, cat("host ", from, ": ", read.error().message)};
  }
  Whole whole;
  whole.round = due_ - 1;
  whole.directive = read->directive;
  whole.rows = std::move(read->rows);
  whole.present = std::move(read->flags);
  answered_ = std::move(whole);
  return {};
}

void Relay::finish_catching_up() {
  const std::uint64_t elements = world_.sums().elements;
  const bool all = std::all_of(caught_.begin(), caught_.end(),
                               [elements](std::uint64_t there) { return there >= elements; });
  if (!all || !answered_) return;
  completed_ = answered_->round;
  world_.keep(std::move(*answered_));
  answered_.reset();
  behind_ = false;
}

void Relay::answer(std::uint32_t to) {
  const Whole& whole = *world_.whole(setup_.first_round - 1);
  if (rows_out_.empty()) {
    rows_out_ = write_rows(0, whole.directive, whole.rows, whole.present);
  }
  RelayFrame frame{RelayFrame::Kind::kRows,
                   static_cast<std::uint32_t>(rows_out_.size()),
                   setup_.lineup,
                   0,
                   whole.round,
                   0};
  carrier_.send(to, frame, rows_out_);
  frame.kind = RelayFrame::Kind::kWhole;
  frame.width = sizeof(float);
  for (std::size_t target = 0; target < targets_.size(); ++target) {
    for (Range chunk = chunk_from(0); chunk.count > 0; chunk = chunk_from(chunk.end())) {
      const float* sums = world_.sum(whole.round, target) + chunk.begin;
      const auto bytes = std::as_bytes(std::span(sums, chunk.count));
      frame.bytes = static_cast<std::uint32_t>(bytes.size());
      frame.index = static_cast<std::uint32_t>(target);
      frame.at = chunk.begin;
      carrier_.send(to, frame, bytes);
    }
  }
}

}  // namespace instep::round
