// Lengths of time as people write them: "90s", "10m", "2h", "1d".
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace instep {

// In seconds; a whole number and its unit, from 1 s to ten years.
Result<std::int64_t> parse_duration(std::string_view text);

}  // namespace instep
