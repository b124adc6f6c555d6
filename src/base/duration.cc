#include "base/duration.h"

#include <array>
#include <charconv>

#include "base/text.h"
#include "base/utf8.h"

namespace instep {
namespace {

struct Unit {
  char letter;
  std::int64_t seconds;
};
constexpr std::array kUnits = {Unit{'d', 86'400}, Unit{'h', 3600}, Unit{'m', 60}, Unit{'s', 1}};
constexpr std::int64_t kMostDays = 3650;

}  // namespace

Result<std::int64_t> parse_duration(std::string_view text) {
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.letter)) continue;
    std::int64_t value = 0;
    const char* begin = text.data();
    const char* end = begin + text.size() - 1;
    const auto read = std::from_chars(begin, end, value);
    const bool whole = read.ec == std::errc() && read.ptr == end;
    // Compared before it is multiplied: the product of what may come does not overflow.
    if (!whole || value < 1 || value > kMostDays * kUnits[0].seconds / unit.seconds) break;
    return value * unit.seconds;
  }
  constexpr int kShown = 40;
  return invalid(cat("found '", fit(text, kShown),
                     "'; allowed: a time as 90s, 10m, 2h or 1d, at most ", kMostDays, "d"));
}

}  // namespace instep
