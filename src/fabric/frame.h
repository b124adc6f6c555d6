// The frames of a link between hosts: a head of 32 bytes, little endian, and its payload.
//
//   kind u32 | size u32 (bytes of the payload) | a u64 | b u64 | c u64
//
// Kind 0 is the link's own: a ping, without payload, that says no more than "still here". What a, b
// and c mean is said by who uses the link.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace instep::fabric {

constexpr std::size_t kFrameHeadBytes = 32;
constexpr std::uint32_t kMaxPayload = std::uint32_t{4} << 20;
constexpr std::uint32_t kPing = 0;

struct FrameHead {
  std::uint32_t kind = 0;
  std::uint32_t size = 0;
  std::uint64_t a = 0, b = 0, c = 0;

  bool operator==(const FrameHead&) const = default;
};

std::array<std::byte, kFrameHeadBytes> encode(const FrameHead& head);
FrameHead decode_head(std::span<const std::byte, kFrameHeadBytes> bytes);

// Takes a stream of bytes apart. It holds no payload: that is read straight to where its receiver
// wants it.
class FrameReader {
 public:
  struct Receiver {
    // exactly head.size bytes, not asked for where that is 0
    std::function<Result<std::span<std::byte>>(const FrameHead&)> place;
    std::function<Status(const FrameHead&)> took;
  };
  explicit FrameReader(Receiver receiver) : receiver_(std::move(receiver)) {}

  // Where the stream's next bytes go; never empty.
  std::span<std::byte> wanted();
  // So many of them lie there now. An Error ends the stream.
  Status filled(std::size_t bytes);

  // From now on at most `frames` frames, pings aside, of at most `bytes` each.
  void limit(std::uint32_t frames, std::uint32_t bytes);

 private:
  Status begin();
  Status end();

  Receiver receiver_;
  std::array<std::byte, kFrameHeadBytes> head_bytes_{};
  std::size_t head_filled_ = 0;
  FrameHead head_;
  std::span<std::byte> payload_;  // what is missing of it
  std::optional<std::uint32_t> frames_left_;
  std::uint32_t most_bytes_ = kMaxPayload;
};

// What is to be sent, cut into the records of TLS: as full as there is something to fill them with,
// and without a copy where a payload fills one.
class Outbox {
 public:
  static constexpr std::size_t kRecordBytes = 16 << 10;  // RFC 8446, section 5.1

  void push(const FrameHead& head, std::vector<std::byte> payload);
  // `sent`, which may be empty, is called when the memory is no longer needed.
  void push(const FrameHead& head, std::span<const std::byte> payload, std::function<void()> sent);

  bool empty() const { return bytes_ == 0; }
  std::size_t bytes() const { return bytes_; }  // not yet handed out

  // The next record's bytes, at most kRecordBytes; valid until the next call of anything here.
  std::span<const std::byte> next_record();
  // The record has been encrypted: calls sent() of frames that are done with. Those may push.
  void took_record();
  void clear();

 private:
  struct Frame {
    std::array<std::byte, kFrameHeadBytes> head;
    std::vector<std::byte> owned;
    std::span<const std::byte> payload;
    std::function<void()> sent;
    std::size_t done = 0;  // of head and payload together

    std::size_t size() const { return kFrameHeadBytes + payload.size(); }
  };
  std::span<const std::byte> rest(const Frame& frame) const;

  std::deque<Frame> frames_;
  std::size_t whole_ = 0;  // frames at the front that the last record ends
  std::size_t bytes_ = 0;
  std::vector<std::byte> record_;
};

}  // namespace instep::fabric
