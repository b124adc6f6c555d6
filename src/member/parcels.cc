#include "member/parcels.h"

#include "member/fields.h"

namespace instep::member {
namespace {

constexpr int kDepth = 8;  // a reply, its actions, one, a view, its slices and a slice, and two

template <class T>
Result<T> read(const nlohmann::json& in, const char* what) {
  T out;
  wire::Reader reader(in, what);
  fields(reader, out);
  INSTEP_RETURN_IF_ERROR(reader.status());
  return out;
}

template <class T>
std::vector<std::byte> write(const T& value) {
  return wire::to_cbor(wire::Writer::write(value));
}

}  // namespace

std::vector<std::byte> encode(const Open& open) { return write(open); }
std::vector<std::byte> encode(const Told& told) { return write(told); }
std::vector<std::byte> encode(const Reply& reply) { return write(reply); }

Result<std::variant<Open, Told>> decode_for_coordinator(std::span<const std::byte> body) {
  INSTEP_ASSIGN_OR_RETURN(const nlohmann::json in, wire::from_cbor(body, kDepth));
  if (in.contains("event")) {
    INSTEP_ASSIGN_OR_RETURN(Told told, read<Told>(in, "event"));
    return std::variant<Open, Told>(std::move(told));
  }
  INSTEP_ASSIGN_OR_RETURN(Open open, read<Open>(in, "beginning"));
  return std::variant<Open, Told>(std::move(open));
}

Result<Reply> decode_reply(std::span<const std::byte> body) {
  INSTEP_ASSIGN_OR_RETURN(const nlohmann::json in, wire::from_cbor(body, kDepth));
  return read<Reply>(in, "reply");
}

}  // namespace instep::member
