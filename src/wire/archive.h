// Structures as CBOR and back. A type says its fields once, in a function that argument-dependent
// lookup finds,
//
//   void fields(auto& archive, wire::Type<Thing> auto& thing) { archive("name", thing.name); }
//
// and the writer and the reader both walk it. The reader trusts nothing: what is missing, has
// another type or does not fit is an Error that names the key, and nothing is read that deep
// nesting or a length that lies could make expensive.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/text.h"

namespace instep::wire {

// T or const T: what the writer and the reader see.
template <class T, class Wanted>
concept Type = std::same_as<std::remove_const_t<T>, Wanted>;

class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    out[key] = write(value);
  }

  template <class T>
  requires std::is_class_v<T>
  static nlohmann::json write(const T& value) {
    Writer writer;
    fields(writer, value);
    return std::move(writer.out);
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  static nlohmann::json write(const T& value) { return value; }
  template <class T>
  requires std::is_enum_v<T>
  static nlohmann::json write(const T& value) { return static_cast<std::uint32_t>(value); }
  static nlohmann::json write(const std::string& value) { return value; }
  static nlohmann::json write(const std::vector<std::byte>& value) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(value.data());
    return nlohmann::json::binary({bytes, bytes + value.size()});
  }
  static nlohmann::json write(const std::map<std::string, std::string>& value) { return value; }
  template <class T>
  static nlohmann::json write(const std::vector<T>& values) {
    return write_all(values);
  }
  template <class T>
  static nlohmann::json write(const std::set<T>& values) {
    return write_all(values);
  }
  template <class T>
  static nlohmann::json write(const std::optional<T>& value) {
    return value ? write(*value) : nlohmann::json();
  }
  template <class A, class B>
  static nlohmann::json write(const std::pair<A, B>& value) {
    return nlohmann::json::array({write(value.first), write(value.second)});
  }
  // [which, value]
  template <class... Ts>
  static nlohmann::json write(const std::variant<Ts...>& value) {
    nlohmann::json held = std::visit([](const auto& it) { return write(it); }, value);
    return nlohmann::json::array({value.index(), std::move(held)});
  }

  nlohmann::json out = nlohmann::json::object();

 private:
  template <class Values>
  static nlohmann::json write_all(const Values& values) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& value : values) out.push_back(write(value));
    return out;
  }
};

class Reader {
 public:
  // `what`: as errors name it.
  Reader(const nlohmann::json& in, std::string what) : in_(in), what_(std::move(what)) {}

  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = in_.find(key);
    if (found == in_.end()) return fail(key, "is missing");
    if (!read(*found, value)) fail(key, "has a wrong type or is out of range");
  }
  Status status() const { return status_; }

 private:
  using Json = nlohmann::json;

  void fail(const char* key, const char* what) {
    if (status_.ok()) status_ = invalid(cat("malformed ", what_, ": '", key, "' ", what));
  }
  template <class T>
  requires std::is_class_v<T>
  static bool read(const Json& in, T& value) {
    if (!in.is_object()) return false;
    Reader reader(in, "");
    fields(reader, value);
    return reader.status().ok();
  }
  static bool read(const Json& in, std::string& value) {
    if (!in.is_string()) return false;
    value = in.get_ref<const std::string&>();
    return true;
  }
  static bool read(const Json& in, bool& value) {
    if (!in.is_boolean()) return false;
    value = in.get<bool>();
    return true;
  }
  static bool read(const Json& in, double& value) {
    if (!in.is_number()) return false;
    value = in.get<double>();
    return true;
  }
  template <class T>
  requires std::is_integral_v<T>
  static bool read(const Json& in, T& value) {
    if (in.is_number_unsigned()) {
      const auto wide = in.get<std::uint64_t>();
      if (wide > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
      value = static_cast<T>(wide);
      return true;
    }
    if (!in.is_number_integer() || std::is_unsigned_v<T>) return false;
    const auto wide = in.get<std::int64_t>();
    if (wide < static_cast<std::int64_t>(std::numeric_limits<T>::min())) return false;
    value = static_cast<T>(wide);  // negative, or it would have been unsigned
    return true;
  }
  // An enumeration says its last value: last_of(T) is found as fields() is.
  template <class T>
  requires std::is_enum_v<T>
  static bool read(const Json& in, T& value) {
    std::uint32_t number = 0;
    if (!read(in, number) || number > static_cast<std::uint32_t>(last_of(T{}))) return false;
    value = static_cast<T>(number);
    return true;
  }
  static bool read(const Json& in, std::vector<std::byte>& value) {
    if (!in.is_binary()) return false;
    const auto bytes = std::as_bytes(std::span(in.get_binary()));
    value.assign(bytes.begin(), bytes.end());
    return true;
  }
  template <class T>
  static bool read(const Json& in, std::vector<T>& values) {
    if (!in.is_array()) return false;
    values.clear();
    values.reserve(in.size());
    for (const Json& item : in) {
      if (!read(item, values.emplace_back())) return false;
    }
    return true;
  }
  template <class T>
  static bool read(const Json& in, std::set<T>& values) {
    std::vector<T> all;
    if (!read(in, all)) return false;
    values = {all.begin(), all.end()};
    return true;
  }
  template <class T>
  static bool read(const Json& in, std::optional<T>& value) {
    if (in.is_null()) return value.reset(), true;
    return read(in, value.emplace());
  }
  template <class A, class B>
  static bool read(const Json& in, std::pair<A, B>& value) {
    return in.is_array() && in.size() == 2 && read(in[0], value.first) && read(in[1], value.second);
  }
  template <class... Ts>
  static bool read(const Json& in, std::variant<Ts...>& value) {
    std::size_t which = 0;
    if (!in.is_array() || in.size() != 2 || !read(in[0], which)) return false;
    return read_one<0>(in[1], which, value);
  }
  template <std::size_t kIndex, class... Ts>
  static bool read_one(const Json& in, std::size_t which, std::variant<Ts...>& value) {
    if constexpr (kIndex == sizeof...(Ts)) {
      return false;
    } else {
      if (which != kIndex) return read_one<kIndex + 1>(in, which, value);
      return read(in, value.template emplace<kIndex>());
    }
  }
  static bool read(const Json& in, std::map<std::string, std::string>& values) {
    if (!in.is_object()) return false;
    values.clear();
    for (const auto& item : in.items()) {
      if (!read(item.value(), values[item.key()])) return false;
    }
    return true;
  }

  const Json& in_;
  std::string what_;
  Status status_;
};

std::vector<std::byte> to_cbor(const nlohmann::json& value);
// A map, with at most `depth` levels of lists and maps, itself included: a parser that follows them
// needs stack for each. Nothing but what to_cbor() writes is read: no tags, and all lengths are
// said.
Result<nlohmann::json> from_cbor(std::span<const std::byte> bytes, int depth);

}  // namespace instep::wire
