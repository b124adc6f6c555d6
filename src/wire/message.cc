#include "wire/message.h"

#include <utility>

#include "base/text.h"
#include "wire/message_fields.h"
#include "wire/tagged.h"

namespace instep::wire {
namespace {

// In the order of Message's alternatives.
constexpr Names<Message> kNames = {"hello",  "welcome", "ready",   "view",    "progress", "done",
                                   "failed", "stop",    "propose", "promise", "leaving",  "parcel"};
constexpr int kDepth = 2;  // the message and its lists or maps

}  // namespace

std::vector<std::byte> encode(const Message& message) {
  const std::vector<std::byte> body = write_tagged(message, kNames);
  std::vector<std::byte> frame(4);
  for (std::size_t i = 0; i < 4; ++i) frame[i] = static_cast<std::byte>(body.size() >> (8 * i));
  frame.insert(frame.end(), body.begin(), body.end());
  return frame;
}

Failed failed_of(const Error& error) {
  return {static_cast<std::int32_t>(error.kind), error.message};
}

Error error_of(Failed failed) {
  const bool known = failed.kind >= 0 && failed.kind <= static_cast<int>(ErrorKind::kInternal);
  return {known ? static_cast<ErrorKind>(failed.kind) : ErrorKind::kInternal,
          std::move(failed.message)};
}

Result<std::size_t> frame_length(std::span<const std::byte, 4> prefix) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length |= static_cast<std::size_t>(prefix[i]) << (8 * i);
  if (length > kMaxFrameBytes) {
    return invalid(
        cat("a message of ", length, " bytes; at most ", kMaxFrameBytes, " are allowed"));
  }
  return length;
}

Result<Message> decode(std::span<const std::byte> body) {
  if (body.size() > kMaxFrameBytes) return invalid("malformed message: too long");
  return read_tagged<Message>(body, kDepth, kNames);
}

}  // namespace instep::wire
