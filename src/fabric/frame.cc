#include "fabric/frame.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace instep::fabric {
namespace {

template <class T>
void put(std::byte* to, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) to[i] = std::byte(value >> (8 * i));
}
template <class T>
T get(const std::byte* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) value |= std::to_integer<T>(from[i]) << (8 * i);
  return value;
}

}  // namespace

std::array<std::byte, kFrameHeadBytes> encode(const FrameHead& head) {
  std::array<std::byte, kFrameHeadBytes> out{};
  put(out.data(), head.kind);
  put(out.data() + 4, head.size);
  put(out.data() + 8, head.a);
  put(out.data() + 16, head.b);
  put(out.data() + 24, head.c);
  return out;
}

FrameHead decode_head(std::span<const std::byte, kFrameHeadBytes> bytes) {
  const std::byte* from = bytes.data();
  return {get<std::uint32_t>(from), get<std::uint32_t>(from + 4), get<std::uint64_t>(from + 8),
          get<std::uint64_t>(from + 16), get<std::uint64_t>(from + 24)};
}

std::span<std::byte> FrameReader::wanted() {
  if (!payload_.empty()) return payload_;
  return std::span(head_bytes_).subspan(head_filled_);
}

Status FrameReader::filled(std::size_t bytes) {
  INSTEP_CHECK(bytes <= wanted().size(), "no more was read than was wanted");
  if (!payload_.empty()) {
    payload_ = payload_.subspan(bytes);
    return payload_.empty() ? end() : Status();
  }
  head_filled_ += bytes;
  return head_filled_ == kFrameHeadBytes ? begin() : Status();
}

Status FrameReader::begin() {
  head_filled_ = 0;
  head_ = decode_head(head_bytes_);
  if (head_.kind == kPing) {
    return head_.size == 0 ? receiver_.took(head_) : invalid("a ping with a payload");
  }
  if (frames_left_ && *frames_left_ == 0) return invalid("a frame more than is allowed");
  if (head_.size > most_bytes_) {
    return invalid(cat("a frame of ", head_.size, " bytes; at most ", most_bytes_, " are allowed"));
  }
  if (frames_left_) --*frames_left_;
  if (head_.size == 0) return end();
  INSTEP_ASSIGN_OR_RETURN(payload_, receiver_.place(head_));
  INSTEP_CHECK(payload_.size() == head_.size, "a payload is given just its size");
  return {};
}

Status FrameReader::end() { return receiver_.took(head_); }

void FrameReader::limit(std::uint32_t frames, std::uint32_t bytes) {
  frames_left_ = frames;
  most_bytes_ = std::min(bytes, kMaxPayload);
}

void Outbox::push(const FrameHead& head, std::vector<std::byte> payload) {
  Frame& frame = frames_.emplace_back();
  frame.owned = std::move(payload);
  frame.payload = frame.owned;
  frame.head = encode(head);
  bytes_ += frame.size();
}

void Outbox::push(const FrameHead& head, std::span<const std::byte> payload,
                  std::function<void()> sent) {
  Frame& frame = frames_.emplace_back();
  frame.payload = payload;
  frame.sent = std::move(sent);
  frame.head = encode(head);
  bytes_ += frame.size();
}

std::span<const std::byte> Outbox::rest(const Frame& frame) const {
  if (frame.done < kFrameHeadBytes) return std::span(frame.head).subspan(frame.done);
  return frame.payload.subspan(frame.done - kFrameHeadBytes);
}

std::span<const std::byte> Outbox::next_record() {
  record_.clear();
  whole_ = 0;
  while (whole_ < frames_.size()) {
    Frame& frame = frames_[whole_];
    const std::span<const std::byte> next = rest(frame);
    const auto piece = next.first(std::min(next.size(), kRecordBytes - record_.size()));
    frame.done += piece.size();
    bytes_ -= piece.size();
    if (frame.done == frame.size()) ++whole_;
    if (piece.size() == kRecordBytes) return piece;
    record_.insert(record_.end(), piece.begin(), piece.end());
    if (record_.size() == kRecordBytes) break;
  }
  return record_;
}

void Outbox::took_record() {
  while (whole_ > 0) {
    --whole_;
    const auto sent = std::move(frames_.front().sent);
    frames_.pop_front();
    if (sent) sent();  // may clear() everything
  }
}

void Outbox::clear() {
  frames_.clear();
  whole_ = 0;
  bytes_ = 0;
}

}  // namespace instep::fabric
