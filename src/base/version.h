// The version of instep; the root CMakeLists.txt reads it from here.
#pragma once

namespace instep {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace instep
