// Small text helpers. std::format is not in the compilers we support, and libtorch ships headers of
// another fmt, so messages are put together with cat().
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Joins with a separator: join({"a", "b"}, ", ") is "a, b".
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// The candidate nearest to `word` by edit distance, or "" if none is near enough to suggest.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// 1536 -> "1.5 KiB".
std::string human_bytes(double bytes);

// At most `digits` digits after the point, without trailing zeros.
std::string number(double value, int digits);

// Whether a name matches a shell pattern of '*' and '?'.
bool matches(std::string_view pattern, std::string_view name);

}  // namespace instep
