#include "fabric/tcp_window.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "fabric/testing_raw.h"

namespace instep::fabric {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(TcpWindow, IsTwiceWhatTheWayHolds) {
  EXPECT_EQ(tcp_window({125'000'000, 100'000}, 64 * kMiB), 25'000'000U);
}

TEST(TcpWindow, HasALeast) {
  EXPECT_EQ(tcp_window({}, 4 * kMiB), kMiB);
  EXPECT_EQ(tcp_window({125'000'000, 2'000}, 4 * kMiB), kMiB);
}

TEST(TcpWindow, IsLessWhereTheKernelAllowsLessAndTheWayNeedsNoMore) {
  EXPECT_EQ(tcp_window({12'500'000, 2'000}, kMiB / 4), kMiB / 4);
}

TEST(TcpWindow, IsTheKernelsWhereTheWayNeedsMoreThanItAllows) {
  EXPECT_EQ(tcp_window({125'000'000, 100'000}, 4 * kMiB), std::nullopt);
  EXPECT_EQ(tcp_window({12'500'000, 40'000}, kMiB / 4), std::nullopt);
}

TEST(TcpWindow, NoWayTakesAllMemory) {
  EXPECT_EQ(tcp_window({~std::uint64_t{0}, 4'000'000'000}, ~std::uint64_t{0}), 64 * kMiB);
}

int send_buffer(const Fd& socket) {
  int bytes = 0;
  socklen_t size = sizeof bytes;
  EXPECT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &bytes, &size), 0);
  return bytes;
}

TEST(TcpWindow, HoldsForASocketThatIsFollowed) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Fd socket = raw_connection(ntohs(address.sin_port));
  const int before = send_buffer(socket);

  TcpWindow window;
  window.follow(socket.get(), 1);
  const int after = send_buffer(socket);
  EXPECT_NE(after, before);
  EXPECT_LE(after, static_cast<int>(kMiB));

  // It is not looked at again before it is time.
  const int other = 100'000;
  ASSERT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &other, sizeof other), 0);
  window.follow(socket.get(), 2);
  EXPECT_EQ(send_buffer(socket), 2 * other);
}

}  // namespace
}  // namespace instep::fabric
