#include "state_move.h"

#include <algorithm>

#include "host.h"

namespace instep::sim {

using round::RelayFrame;

namespace {

constexpr std::uint64_t kPiece = 6000;  // several of a part

}  // namespace

void give_state(std::uint32_t lineup, std::uint64_t round, std::vector<std::byte> book,
                Memory& memory, bool begun, const SendState& send) {
  const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(book));
  const auto length = std::make_shared<const std::uint64_t>(kept->size());
  send({kBookFrame, sizeof *length, lineup, begun ? 1U : 0U, round, 0},
       std::as_bytes(std::span(length.get(), 1)), length);
  const auto pieces = [&](std::uint32_t part, std::span<const std::byte> bytes,
                          const std::shared_ptr<const void>& keeper) {
    for (std::uint64_t at = 0; at < bytes.size(); at += kPiece) {
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      send({kStateFrame, static_cast<std::uint32_t>(piece.size()), lineup, part, round, at}, piece,
           keeper);
    }
  };
  pieces(0, *kept, kept);
  std::uint32_t number = 0;
  for (const auto& part : memory.state_at(round)) pieces(++number, part, {});
  if (!begun) return;
  for (const auto& part : memory.state_next(round)) pieces(++number, part, {});
}

std::span<std::byte> StateTaker::place(const RelayFrame& frame) {
  if (frame.lineup != lineup_ || frame.round != round_ || whole()) {
    throw Violation("a state comes of another round");
  }
  if (frame.kind == kBookFrame) return std::as_writable_bytes(std::span(&book_bytes_, 1));
  if (book_bytes_ == 0 || frame.index != part_ || frame.at != at_) {
    throw Violation("a piece of a state comes out of turn");
  }
  if (part_ > 0) return parts_[part_ - 1].subspan(at_, frame.bytes);
  book_.resize(at_ + frame.bytes);
  return std::span(book_).subspan(at_);
}

void StateTaker::took(const RelayFrame& frame) {
  if (frame.kind == kBookFrame) {
    const auto next = memory_.state_next(round_);
    if (frame.index == 1) parts_.insert(parts_.end(), next.begin(), next.end());
    return;
  }
  at_ += frame.bytes;
  if (at_ < (part_ == 0 ? book_bytes_ : parts_[part_ - 1].size())) return;
  ++part_;
  at_ = 0;
}

}  // namespace instep::sim
