// How many bytes a second one link carries between two hosts: TLS as between hosts of a run, or TCP
// alone, one way, from one process to another.
//
//   link_bench tls|tcp NETNS NETNS ADDRESS SECONDS     as root; ADDRESS is the first namespace's
//
// Prints {"bytes_per_s": …}. Frames are sent from, and taken into, 1 MiB that stays in the caches.
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/machine.h"
#include "base/text.h"
#include "fabric/tls_connect.h"
#include "fabric/tls_listener.h"

namespace instep::fabric {
namespace {

constexpr std::uint16_t kPort = 4700;
constexpr std::size_t kFrameBytes = 256 << 10;
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr int kUnderWay = 8;  // frames
constexpr std::int64_t kWarmNs = 500'000'000;

struct Plan {
  bool tls = true;
  std::string receiver, sender;  // namespaces
  Address address;
  std::int64_t measure_ns = 0;
};

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "link_bench: %s\n", why.c_str());
  std::exit(1);
}

void enter(const std::string& name) {
  const Fd space(::open(cat("/run/netns/", name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!space.valid() || ::setns(space.get(), CLONE_NEWNET) != 0) fail(cat("cannot enter ", name));
}

// Counts what comes after the first half second; ends the process when it has enough.
class Meter {
 public:
  explicit Meter(std::int64_t measure_ns) : measure_ns_(measure_ns) {}
  void took(std::size_t bytes) {
    const std::int64_t now = monotonic_ns();
    if (first_ns_ == 0) first_ns_ = now;
    if (now < first_ns_ + kWarmNs) return;
    if (begin_ns_ == 0) {
      begin_ns_ = now;
      return;
    }
    bytes_ += bytes;
    if (now < begin_ns_ + measure_ns_) return;
    const double seconds = static_cast<double>(now - begin_ns_) * 1e-9;
    std::printf("{\"bytes_per_s\": %.0f}\n", static_cast<double>(bytes_) / seconds);
    std::fflush(stdout);
    std::_Exit(0);
  }

 private:
  const std::int64_t measure_ns_;
  std::int64_t first_ns_ = 0;
  std::int64_t begin_ns_ = 0;
  std::uint64_t bytes_ = 0;
};

class Receiver : public TlsLink::Sink {
 public:
  explicit Receiver(std::int64_t measure_ns) : meter_(measure_ns), buffer_(kBufferBytes) {}
  Result<std::span<std::byte>> place(TlsLink& /*link*/, const FrameHead& head) override {
    at_ = (at_ + head.size) % kBufferBytes;
    return std::span(buffer_).subspan(at_, head.size);
  }
  Status took(TlsLink& /*link*/, const FrameHead& head) override {
    meter_.took(head.size);
    return {};
  }
  void closed(TlsLink& /*link*/, const Error& why) override { fail(why.message); }

 private:
  Meter meter_;
  std::vector<std::byte> buffer_;
  std::size_t at_ = 0;
};

class Sender : public TlsLink::Sink {
 public:
  void begin(std::shared_ptr<TlsLink> link) {
    link_ = std::move(link);
    link_->start(this);
    for (int k = 0; k < kUnderWay; ++k) send();
  }
  Result<std::span<std::byte>> place(TlsLink& /*link*/, const FrameHead& /*head*/) override {
    return invalid("nothing is to come back");
  }
  Status took(TlsLink& /*link*/, const FrameHead& /*head*/) override { return {}; }
  void closed(TlsLink& /*link*/, const Error& /*why*/) override { std::_Exit(0); }

 private:
  void send() {
    at_ = (at_ + kFrameBytes) % kBufferBytes;
    link_->send({1, 0, 0, 0, 0}, std::span<const std::byte>(buffer_).subspan(at_, kFrameBytes),
                [this] { send(); });
  }

  std::shared_ptr<TlsLink> link_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kBufferBytes, std::byte{7});
  std::size_t at_ = 0;
};

void receive_tls(const Plan& plan, const Identity& identity) {
  Loop loop;
  Receiver receiver(plan.measure_ns);
  std::shared_ptr<TlsLink> link;
  const auto listener =
      TlsListener::start(loop, plan.address, identity, {}, [&](std::shared_ptr<TlsLink> made) {
        link = std::move(made);
        link->start(&receiver);
      });
  if (!listener.ok()) fail(listener.error().message);
  loop.run();
}

void send_tls(const Plan& plan, const Identity& identity) {
  Loop loop;
  Sender sender;
  connect(loop, plan.address, identity, {}, [&sender](Result<std::shared_ptr<TlsLink>> link) {
    if (!link.ok()) fail(link.error().message);
    sender.begin(link.take());
  });
  loop.run();
}

using asio::ip::tcp;

tcp::endpoint endpoint(const Plan& plan) {
  return {asio::ip::make_address(plan.address.host), plan.address.port};
}

void receive_tcp(const Plan& plan) {
  asio::io_context io;
  tcp::acceptor acceptor(io, endpoint(plan));
  tcp::socket socket = acceptor.accept();
  std::vector<std::byte> buffer(kBufferBytes);
  Meter meter(plan.measure_ns);
  while (true) meter.took(socket.read_some(asio::buffer(buffer)));
}

void send_tcp(const Plan& plan) {
  asio::io_context io;
  tcp::socket socket(io);
  asio::error_code failed;
  do {
    socket = tcp::socket(io);
    failed = socket.connect(endpoint(plan), failed);
  } while (failed == asio::error::connection_refused);
  const std::vector<std::byte> buffer(kBufferBytes, std::byte{7});
  while (!failed) asio::write(socket, asio::buffer(buffer), failed);
}

int run(const Plan& plan) {
  const auto authority = Authority::make("bench");
  if (!authority.ok()) fail(authority.error().message);
  const auto here = authority->issue("host-0");
  const auto there = authority->issue("host-1");
  if (!here.ok() || !there.ok()) fail("no certificates");
  const pid_t sender = ::fork();
  if (sender < 0) fail("cannot fork");
  enter(sender == 0 ? plan.sender : plan.receiver);
  if (sender == 0) {
    plan.tls ? send_tls(plan, *there) : send_tcp(plan);
  } else {
    plan.tls ? receive_tls(plan, *here) : receive_tcp(plan);  // ends by itself
  }
  return 0;
}

}  // namespace
}  // namespace instep::fabric

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 5 || (words[0] != "tls" && words[0] != "tcp")) {
    std::fputs("usage: link_bench tls|tcp NETNS NETNS ADDRESS SECONDS\n", stderr);
    return 2;
  }
  const auto seconds = std::strtod(words[4].c_str(), nullptr);
  return instep::fabric::run({words[0] == "tls",
                              words[1],
                              words[2],
                              {words[3], instep::fabric::kPort},
                              static_cast<std::int64_t>(seconds * 1e9)});
}
