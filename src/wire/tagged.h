// A variant of messages as a CBOR map with the name of what it is, and back. Only codecs include
// this.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "wire/archive.h"

namespace instep::wire {

inline constexpr const char* kTypeKey = "type";

// In the order of the variant's alternatives.
template <class Variant>
using Names = std::array<std::string_view, std::variant_size_v<Variant>>;

template <class Variant>
std::vector<std::byte> write_tagged(const Variant& message, const Names<Variant>& names) {
  nlohmann::json out = std::visit([](const auto& m) { return Writer::write(m); }, message);
  out[kTypeKey] = std::string(names[message.index()]);
  return to_cbor(out);
}

template <class Variant, std::size_t kIndex = 0>
Result<Variant> read_tagged_as(std::string_view type, const nlohmann::json& in,
                               const Names<Variant>& names) {
  if constexpr (kIndex == std::variant_size_v<Variant>) {
    return invalid("malformed message: unknown type");
  } else {
    if (type != names[kIndex]) return read_tagged_as<Variant, kIndex + 1>(type, in, names);
    std::variant_alternative_t<kIndex, Variant> message;
    Reader reader(in, cat(type, " message"));
    fields(reader, message);
    INSTEP_RETURN_IF_ERROR(reader.status());
    return Variant(std::move(message));
  }
}

// With at most `depth` levels of lists and maps.
template <class Variant>
Result<Variant> read_tagged(std::span<const std::byte> body, int depth,
                            const Names<Variant>& names) {
  INSTEP_ASSIGN_OR_RETURN(const nlohmann::json in, from_cbor(body, depth));
  const auto type = in.find(kTypeKey);
  if (type == in.end() || !type->is_string()) return invalid("malformed message: it has no type");
  return read_tagged_as<Variant>(type->template get_ref<const std::string&>(), in, names);
}

}  // namespace instep::wire
