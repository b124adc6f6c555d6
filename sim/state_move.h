// How the state of a run gets to a host that comes in late: as coord/state_move.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "memory.h"
#include "round/relay.h"

namespace instep::sim {

inline constexpr auto kBookFrame = round::RelayFrame::Kind(64);
inline constexpr auto kStateFrame = round::RelayFrame::Kind(65);
inline bool is_state_frame(const round::RelayFrame& frame) {
  return frame.kind == kBookFrame || frame.kind == kStateFrame;
}

using SendState =
    std::function<void(const round::RelayFrame& frame, std::span<const std::byte> bytes,
                       std::shared_ptr<const void> keeper)>;
// `begun`: some blocks are stepped in the round already.
void give_state(std::uint32_t lineup, std::uint64_t round, std::vector<std::byte> book,
                Memory& memory, bool begun, const SendState& send);

class StateTaker {
 public:
  StateTaker(std::uint32_t lineup, std::uint64_t round, Memory& memory)
      : lineup_(lineup), round_(round), memory_(memory), parts_(memory.state_at(round)) {}

  std::span<std::byte> place(const round::RelayFrame& frame);
  void took(const round::RelayFrame& frame);
  bool whole() const { return part_ > parts_.size(); }
  std::uint64_t round() const { return round_; }
  std::vector<std::byte> take_book() { return std::move(book_); }

 private:
  const std::uint32_t lineup_;
  const std::uint64_t round_;
  Memory& memory_;
  std::vector<std::span<std::byte>> parts_;
  std::uint64_t book_bytes_ = 0;
  std::vector<std::byte> book_;
  std::size_t part_ = 0;  // that comes next, the book first, and how much of it has
  std::uint64_t at_ = 0;
};

}  // namespace instep::sim
