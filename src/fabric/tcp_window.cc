#include "fabric/tcp_window.h"

#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "base/file.h"
#include "base/time.h"
#include "fabric/tcp_flow.h"

// Of asm-generic/socket.h since Linux 5.14, newer than some C libraries.
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

namespace instep::fabric {
namespace {

constexpr std::uint64_t kLeastBytes = 1 << 20;
constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
constexpr std::int64_t kEveryNs = 50 * kMillisecond;
// The kernel takes half of what it then gives (socket(7)).
constexpr std::uint64_t kKernelFactor = 2;

// What net.core.wmem_max allows, asked of a socket that nothing depends on.
std::uint64_t most_allowed() {
  static const std::uint64_t kMost = [] {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int all = std::numeric_limits<int>::max() / 2;
    int got = 0;
    socklen_t size = sizeof got;
    const bool known = ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &all, sizeof all) == 0 &&
                       ::getsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &got, &size) == 0;
    return known ? static_cast<std::uint64_t>(got) : 0;
  }();
  return kMost;
}

}  // namespace

std::optional<std::uint64_t> tcp_window(const TcpWay& way, std::uint64_t most) {
  constexpr double kUsPerS = 1e6;
  const double holds =
      static_cast<double>(way.bytes_s) * static_cast<double>(way.round_trip_us) / kUsPerS;
  const auto needed =
      static_cast<std::uint64_t>(std::min(2 * holds, static_cast<double>(kMostBytes)));
  if (needed > most) return std::nullopt;
  return std::min(std::max(needed, kLeastBytes), most);
}

void TcpWindow::follow(int socket, std::int64_t now_ns) {
  if (now_ns < next_ns_) return;
  next_ns_ = now_ns + kEveryNs;
  const auto flow = tcp_flow(socket);
  if (!flow) return;
  const std::uint64_t wanted =
      tcp_window({flow->bytes_s, flow->least_round_trip_us}, most_allowed()).value_or(0);
  // A little more or less changes nothing.
  if (wanted == window_ || (window_ > 0 && wanted > window_ / 2 && wanted < window_ * 5 / 4))
    return;
  window_ = wanted;
  const int value = wanted == 0 ? 0 : static_cast<int>(wanted / kKernelFactor);
  ::setsockopt(socket, SOL_SOCKET, wanted == 0 ? SO_BUF_LOCK : SO_SNDBUF, &value, sizeof value);
}

}  // namespace instep::fabric
