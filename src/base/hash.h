// SHA-256 where a digest is shown or compared between machines, XXH3 where speed matters and nobody
// attacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace instep {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  void update_u64(std::uint64_t value);  // little endian
  // Lower-case hexadecimal, 64 characters. The object is used up.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view text);
std::uint64_t xxh3(std::span<const std::byte> bytes, std::uint64_t seed = 0);

}  // namespace instep
