#include "coord/comeback.h"

#include <utility>

namespace instep::coord {

std::optional<std::int64_t> Comeback::failed(std::int64_t now_ns) {
  const auto since = std::exchange(works_since_, std::nullopt);
  if (since && now_ns - *since >= kLastingNs) in_a_row_ = 0;
  if (in_a_row_ == kMostInARow) return std::nullopt;
  const std::uint32_t before = in_a_row_++;
  return before == 0 ? now_ns : now_ns + (kFirstPauseNs << (before - 1));
}

}  // namespace instep::coord
