// What the fuzz targets share. A target is one LLVMFuzzerTestOneInput: it hands bytes from nowhere
// to a reader, uses all that comes out, and aborts on what must not be.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/text.h"

// As libFuzzer calls it; 0: taken, whatever became of it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace instep::fuzz {

using Bytes = std::span<const std::byte>;

inline Bytes bytes_of(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads every byte, so that a sanitizer sees one that is not there.
inline void use(const void* at, std::uint64_t bytes) {
  static volatile unsigned sum = 0;
  const auto* byte = static_cast<const unsigned char*>(at);
  for (std::uint64_t i = 0; i < bytes; ++i) sum = sum + byte[i];
}
template <class T>
void use(std::span<const T> values) {
  use(values.data(), values.size_bytes());
}

// What was read is written and read again as the same.
template <class T, class Read, class Write>
void expect_same_again(const T& value, const Read& read, const Write& write) {
  const auto once = write(value);
  const auto again = read(once);
  INSTEP_CHECK(again.ok() && write(*again) == once, "what was read is written as it was");
}

// Of what inputs may be read as, that of which there was none yet: replay.cc wants a seed of each,
// so that none is forgotten with the next message.
inline std::set<std::type_index>& unseen() {
  static std::set<std::type_index> types;
  return types;
}
// All that a variant may be. A target has one for each that it reads, from its first input on.
template <class Variant>
class Kinds;
template <class... Ts>
class Kinds<std::variant<Ts...>> {
 public:
  Kinds() { unseen().insert({std::type_index(typeid(Ts))...}); }
  template <class T>
  void saw(const T& /*read*/) const {
    unseen().erase(typeid(T));
  }
  template <class... Some>
  void saw(const std::variant<Some...>& read) const {
    std::visit([this](const auto& it) { this->saw(it); }, read);
  }
};

// A file that holds the bytes, for readers that take a path.
class File {
 public:
  explicit File(Bytes bytes) {
    auto made = make_memory_file("fuzz", bytes.size());
    INSTEP_CHECK(made.ok(), "a memory file can be made");
    fd_ = made.take();
    INSTEP_CHECK(write_at(fd_.get(), 0, bytes, path()).ok(), "a memory file can be written");
  }
  std::filesystem::path path() const { return cat("/proc/self/fd/", fd_.get()); }
  const Fd& fd() const { return fd_; }

 private:
  Fd fd_;
};

// Two inputs in one: the first two bytes are the length of the first, as far as there is so much.
struct Pair {
  Bytes first, second;
};
inline Pair pair_of(Bytes bytes) {
  if (bytes.size() < 2) return {bytes, {}};
  const std::size_t wanted =
      std::to_integer<std::size_t>(bytes[0]) | std::to_integer<std::size_t>(bytes[1]) << 8;
  const Bytes rest = bytes.subspan(2);
  const std::size_t length = std::min(wanted, rest.size());
  return {rest.first(length), rest.subspan(length)};
}

}  // namespace instep::fuzz
