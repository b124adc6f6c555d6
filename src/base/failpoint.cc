#include "base/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <string>

namespace instep {
namespace {

struct Point {
  std::string name;
  std::string action;
  long at = 0;  // 0: every time
  std::atomic<long> passed = 0;
};

std::deque<Point>& points() {
  static std::deque<Point> all = [] {
    std::deque<Point> parsed;
    const char* text = std::getenv("INSTEP_FAILPOINTS");
    std::string_view rest = text == nullptr ? "" : text;
    while (!rest.empty()) {
      const std::size_t end = rest.find(';');
      std::string_view item = rest.substr(0, end);
      rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
      const std::size_t equals = item.find('=');
      if (equals == std::string_view::npos) continue;
      const std::size_t at = item.find('@', equals);
      Point& point = parsed.emplace_back();
      point.name = item.substr(0, equals);
      point.action = item.substr(
          equals + 1, at == std::string_view::npos ? std::string_view::npos : at - equals - 1);
      if (at != std::string_view::npos) {
        std::from_chars(item.data() + at + 1, item.data() + item.size(), point.at);
      }
    }
    return parsed;
  }();
  return all;
}

}  // namespace

int failpoint(std::string_view name) {
  static const bool kEnabled = !points().empty();
  if (!kEnabled) return 0;
  for (Point& point : points()) {
    if (point.name != name) continue;
    const long count = point.passed.fetch_add(1) + 1;
    if (point.at != 0 && point.at != count) continue;
    if (point.action == "kill") ::kill(::getpid(), SIGKILL);
    if (point.action == "stop") ::kill(::getpid(), SIGSTOP);
    if (point.action == "enospc") return ENOSPC;
    if (point.action == "eio") return EIO;
  }
  return 0;
}

}  // namespace instep
