// A time of day for people on machines in different places.
#pragma once

#include <cstdint>
#include <string>

namespace instep::fabric {

// "2026-03-01 12:00 UTC"
std::string clock_text(std::int64_t unix_s);

}  // namespace instep::fabric
