// The version of instep, as `instep --version`, run.json and reports say it.
#pragma once

namespace instep::coord {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace instep::coord
