// When something that fails again and again is started again: at once, then after pauses that
// double, and after too many failures in a row no more.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace instep::coord {

class Comeback {
 public:
  static constexpr std::int64_t kFirstPauseNs = kSecond;
  // What has worked so long has not failed in a row.
  static constexpr std::int64_t kLastingNs = 60 * kSecond;
  static constexpr std::uint32_t kMostInARow = 8;  // two minutes of pauses: a machine has booted

  void works(std::int64_t now_ns) { works_since_ = now_ns; }
  // When it is to be started again; none: never.
  std::optional<std::int64_t> failed(std::int64_t now_ns);

 private:
  std::optional<std::int64_t> works_since_;
  std::uint32_t in_a_row_ = 0;
};

}  // namespace instep::coord
