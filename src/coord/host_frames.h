// What the frames of a link between hosts mean here.
#pragma once

#include <cstdint>

#include "fabric/frame.h"
#include "round/relay.h"

namespace instep::coord {

inline constexpr std::uint32_t kMessageFrame = 1;  // a wire::HostMessage
// Of what a host has asked for (wire::HostWants), c: which; a: its first byte's place in it, b: how
// many bytes that has.
inline constexpr std::uint32_t kPieceFrame = 2;

// Set in the kind of a relay's frame whose payload stands compressed (fabric/compression.h).
inline constexpr std::uint32_t kCompressed = std::uint32_t{1} << 31;

// A relay's frame on a link, and back.
inline fabric::FrameHead to_head(const round::RelayFrame& frame) {
  return {static_cast<std::uint32_t>(frame.kind), frame.bytes,
          std::uint64_t{frame.lineup} << 32 | frame.index, frame.round, frame.at};
}
inline bool is_relay_frame(const fabric::FrameHead& head) {
  return (head.kind & ~kCompressed) >= static_cast<std::uint32_t>(round::RelayFrame::Kind::kHead);
}
inline round::RelayFrame to_relay_frame(const fabric::FrameHead& head) {
  return {static_cast<round::RelayFrame::Kind>(head.kind & ~kCompressed),
          head.size,
          static_cast<std::uint32_t>(head.a >> 32),
          static_cast<std::uint32_t>(head.a),
          head.b,
          head.c,
          0};
}

}  // namespace instep::coord
