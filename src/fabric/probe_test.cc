#include "fabric/probe.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <string>

#include "base/file.h"

namespace instep::fabric {
namespace {

Probe probed(const Address& address) {
  constexpr std::int64_t kLongMs = 1'000'000;
  std::promise<Probe> answer;
  Loop loop;
  loop.start();
  probe(loop, address, kLongMs, [&answer](Probe found) { answer.set_value(found); });
  return answer.get_future().get();
}

// A port of 127.0.0.1 that nobody else gets; `listens` or not.
class Port {
 public:
  explicit Port(bool listens) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(socket_.get(), any, size), 0);
    EXPECT_EQ(::getsockname(socket_.get(), any, &size), 0);
    if (listens) {
      EXPECT_EQ(::listen(socket_.get(), 1), 0);
    }
    number_ = ntohs(address.sin_port);
  }
  std::uint16_t number() const { return number_; }

 private:
  Fd socket_;
  std::uint16_t number_ = 0;
};

// A host that knew the first one by its name waited for it to come back, though it had ended.
TEST(Probe, TellsByNumberAndByName) {
  const Port listening(true);
  const Port closed(false);
  for (const std::string& host : {std::string("127.0.0.1"), std::string("localhost")}) {
    EXPECT_EQ(probed({host, listening.number()}), Probe::kListening) << host;
    EXPECT_EQ(probed({host, closed.number()}), Probe::kClosed) << host;
  }
}

TEST(Probe, NoWayThereIsSilence) { EXPECT_EQ(probed({"255.255.255.255", 9}), Probe::kSilent); }

}  // namespace
}  // namespace instep::fabric
