#include "fabric/clock_text.h"

#include <array>
#include <ctime>

namespace instep::fabric {

std::string clock_text(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm parts{};
  if (::gmtime_r(&time, &parts) == nullptr) return "a time beyond all calendars";
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return text.data();
}

}  // namespace instep::fabric
