#include "base/random.h"
#include "base/result.h"
#include "data/sampler.h"

namespace instep::data {

Permutation::Permutation(std::uint64_t size, std::uint64_t key)
    : size_(size), half_bits_(kMinHalfBits) {
  while (half_bits_ < 32 && (size >> (2 * half_bits_)) != 0) ++half_bits_;
  for (std::uint32_t round = 0; round < kRounds; ++round) keys_[round] = mix(key, round);
}

std::uint64_t Permutation::operator()(std::uint64_t position) const {
  INSTEP_CHECK(position < size_, "a permutation maps positions below its size");
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t value = position;
  do {
    std::uint64_t left = value >> half_bits_;
    std::uint64_t right = value & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t swapped = left ^ (mix(right ^ key) >> (64 - half_bits_));
      left = right;
      right = swapped;
    }
    value = (left << half_bits_) | right;
  } while (value >= size_);
  return value;
}

}  // namespace instep::data
