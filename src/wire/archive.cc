#include "wire/archive.h"

namespace instep::wire {
namespace {

using Json = nlohmann::json;

struct Head {
  unsigned kind = 0, info = 0;  // RFC 8949: the major type, and how it goes on
  std::uint64_t value = 0;
};
enum Kind : unsigned { kUnsigned, kNegative, kBytes, kText, kList, kMap, kTag, kOther };

// Reads what lies before an item's content; nothing if that is cut off or says no definite length.
std::optional<Head> take_head(std::span<const std::byte>& bytes) {
  if (bytes.empty()) return std::nullopt;
  const auto first = std::to_integer<unsigned>(bytes.front());
  bytes = bytes.subspan(1);
  Head head{first >> 5, first & 31, first & 31};
  if (head.info < 24) return head;
  if (head.info > 27) return std::nullopt;
  const std::size_t width = std::size_t{1} << (head.info - 24);
  if (bytes.size() < width) return std::nullopt;
  head.value = 0;
  for (const std::byte byte : bytes.first(width)) {
    head.value = head.value << 8 | std::to_integer<std::uint64_t>(byte);
  }
  bytes = bytes.subspan(width);
  return head;
}

// False, true, null, and numbers with a point.
bool is_simple(const Head& head) {
  return (head.info >= 20 && head.info <= 22) || (head.info >= 25 && head.info <= 27);
}

// Whether it is one item of what to_cbor() writes, with so many levels at most. The library's
// parser follows lists, tags and strings in pieces by calling itself, so it is given nothing but
// that.
bool has_good_shape(std::span<const std::byte> bytes, std::size_t depth) {
  std::vector<std::uint64_t>
      open;  // of each list or map that it is in: items that are still to come
  do {
    const auto head = take_head(bytes);
    if (!head || head->kind == kTag || (head->kind == kOther && !is_simple(*head))) return false;
    if (!open.empty()) --open.back();
    const bool many = head->kind == kList || head->kind == kMap;
    // An item takes a byte at least.
    if ((many || head->kind == kBytes || head->kind == kText) && head->value > bytes.size()) {
      return false;
    }
    if (many) {
      if (open.size() == depth) return false;
      open.push_back(head->kind == kMap ? 2 * head->value : head->value);
    } else if (head->kind == kBytes || head->kind == kText) {
      bytes = bytes.subspan(static_cast<std::size_t>(head->value));
    }
    while (!open.empty() && open.back() == 0) open.pop_back();
  } while (!open.empty());
  return bytes.empty();
}

}  // namespace

std::vector<std::byte> to_cbor(const Json& value) {
  const std::vector<std::uint8_t> out = Json::to_cbor(value);
  const auto bytes = std::as_bytes(std::span(out));
  return {bytes.begin(), bytes.end()};
}

Result<Json> from_cbor(std::span<const std::byte> bytes, int depth) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto* end = begin + bytes.size();
  if (!has_good_shape(bytes, static_cast<std::size_t>(depth))) {
    return invalid("malformed message: not CBOR of the expected shape");
  }
  Json out = Json::from_cbor(begin, end, true, false);
  if (!out.is_object()) return invalid("malformed message: not a map");
  return out;
}

}  // namespace instep::wire
