// Counter-based random numbers: a value is a pure function of its key, so any shard can be computed
// anywhere, in any order. The mixer is SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, OOPSLA 2014, figure 15).
#pragma once

#include <cstdint>

namespace instep {

constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

template <class... Rest>
constexpr std::uint64_t mix(std::uint64_t first, std::uint64_t second, Rest... rest) {
  return mix(mix(first) ^ second, static_cast<std::uint64_t>(rest)...);
}

// A stream of numbers from one key; cheap to make, so one is made wherever it is needed.
class Random {
 public:
  explicit constexpr Random(std::uint64_t key) : state_(mix(key)) {}

  constexpr std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return mix(state_);
  }
  // Uniform in [0, bound), bound > 0; the multiply-shift bias is below 2^-32 for bounds under 2^32.
  constexpr std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // Uniform in [0, 1).
  constexpr double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // Standard normal by Box-Muller, which takes exactly two draws.
  double normal();

 private:
  std::uint64_t state_;
};

}  // namespace instep
