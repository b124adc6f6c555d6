// Units of what base/machine.h's monotonic_ns() and all deadlines are in: nanoseconds.
#pragma once

#include <cstdint>

namespace instep {

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000 * kMillisecond;

}  // namespace instep
