// How the state of a run gets to a host that comes in late: one that has it sends the book of one
// of its agents (round/book.h) and the parts of its state file that a round begins with
// (wire::Ready), piece by piece and straight from memory, while its agents wait in that round for
// the newcomer's sums: nobody writes there before all of it has arrived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "round/relay.h"
#include "wire/message.h"

namespace instep::round {

// The frames of it, between those of a relay. kBook says how long the book is, and by index 1 that
// some blocks are stepped in the round already, so that the next round's parts come as well; a
// piece says which part it is of, 0 for the book, and where in it it begins.
inline constexpr auto kBookFrame = RelayFrame::Kind(64);
inline constexpr auto kStateFrame = RelayFrame::Kind(65);
inline bool is_state_frame(const RelayFrame& frame) {
  return frame.kind == kBookFrame || frame.kind == kStateFrame;
}

// Where parts of a state file lie, each within its `bytes`.
struct StatePart {
  std::uint64_t begin = 0, bytes = 0;
  bool operator==(const StatePart&) const = default;
};
struct StateParts {
  std::vector<StatePart> at;    // the beginning of a round
  std::vector<StatePart> next;  // what else the beginning of the next one is in
};
Result<StateParts> state_parts(const wire::Ready& ready, std::uint64_t round, std::uint64_t bytes);

// What a donor sends, in order. `keeper`: what the frame's bytes lie in, if not the state file.
// `begun`: some blocks are stepped in the round already.
using SendState = std::function<void(const RelayFrame& frame, std::span<const std::byte> bytes,
                                     std::shared_ptr<const void> keeper)>;
void give_state(std::uint32_t lineup, std::uint64_t round, std::vector<std::byte> book,
                std::span<const std::byte> state, const StateParts& parts, bool begun,
                const SendState& send, std::uint64_t piece_bytes = 1 << 20);

// The newcomer's side; one of a line-up.
class StateTaker {
 public:
  StateTaker(std::uint32_t lineup, std::uint64_t round, std::span<std::byte> state,
             StateParts parts);

  // Where a frame's bytes go, and that they lie there. Everything comes in order. kCorrupt: what
  // came is no such thing.
  Result<std::span<std::byte>> place(const RelayFrame& frame);
  Status took(const RelayFrame& frame);
  // All has come.
  bool whole() const { return part_ > parts_.size(); }
  std::uint64_t round() const { return round_; }
  std::vector<std::byte> take_book() { return std::move(book_); }

 private:
  std::uint64_t bytes_of(std::size_t part) const {
    return part == 0 ? book_bytes_ : parts_[part - 1].bytes;
  }

  const std::uint32_t lineup_;
  const std::uint64_t round_;
  const std::span<std::byte> state_;
  std::vector<StatePart> parts_, next_;
  std::uint64_t book_bytes_ = 0;
  std::vector<std::byte> book_;
  std::size_t part_ = 0;  // that comes next, and how much of it has
  std::uint64_t at_ = 0;
};

}  // namespace instep::round
