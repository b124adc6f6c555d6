#include "wire/message.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "wire/message_fields.h"

namespace instep::wire {
namespace {

using Json = nlohmann::json;

constexpr const char* kTypeKey = "type";
// In the order of Message's alternatives.
constexpr std::array<std::string_view, std::variant_size_v<Message>> kNames = {
    "hello",  "welcome", "ready",   "view",    "progress", "done",
    "failed", "stop",    "propose", "promise", "leaving",  "parcel"};
constexpr int kDepth = 2;  // the message and its lists or maps

template <std::size_t kIndex = 0>
Result<Message> read_as(std::string_view type, const Json& in) {
  if constexpr (kIndex == kNames.size()) {
    return invalid("malformed message: unknown type");
  } else {
    if (type != kNames[kIndex]) return read_as<kIndex + 1>(type, in);
    std::variant_alternative_t<kIndex, Message> message;
    Reader reader(in, cat(type, " message"));
    fields(reader, message);
    INSTEP_RETURN_IF_ERROR(reader.status());
    return Message(std::move(message));
  }
}

}  // namespace

std::vector<std::byte> encode(const Message& message) {
  Json out = std::visit([](const auto& m) { return Writer::write(m); }, message);
  out[kTypeKey] = std::string(kNames[message.index()]);
  std::vector<std::uint8_t> frame(4);
  Json::to_cbor(out, frame);
  const std::size_t length = frame.size() - 4;
  for (int i = 0; i < 4; ++i) frame[std::size_t(i)] = static_cast<std::uint8_t>(length >> (8 * i));
  const auto bytes = std::as_bytes(std::span(frame));
  return {bytes.begin(), bytes.end()};
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
  INSTEP_ASSIGN_OR_RETURN(const Json in, from_cbor(body, kDepth));
  const auto type = in.find(kTypeKey);
  if (type == in.end() || !type->is_string()) return invalid("malformed message: it has no type");
  return read_as(type->get_ref<const std::string&>(), in);
}

}  // namespace instep::wire
