// The ways by which a relay's frames get from host to host, behind the same few calls, for the
// tests that all of them must pass: the product's links, the simulator's, and the queue of relays'
// own tests.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "coord/door.h"
#include "coord/host_frames.h"
#include "coord/peers.h"
#include "fabric/testing_links.h"
#include "network.h"
#include "peers.h"
#include "round/testing_relay_net.h"

namespace instep {

using member::HostId;
using round::RelayFrame;

// What a host has heard of another.
struct Heard {
  enum class What { kFrame, kUp, kDown };
  What what = What::kFrame;
  RelayFrame frame;
  std::vector<std::byte> payload;
};

// All that hosts hear, in order. From any thread.
class Log {
 public:
  // What the receiver of a frame answers when it is about to come, and when it has.
  std::function<Status(HostId at, HostId from, const RelayFrame&)> on_place, on_took;
  // What a host does as soon as it is told.
  std::function<void(HostId at, HostId peer)> on_down;

  Result<std::span<std::byte>> place(HostId at, HostId from, const RelayFrame& frame) {
    const std::lock_guard lock(mutex_);
    if (on_place) INSTEP_RETURN_IF_ERROR(on_place(at, from, frame));
    auto& buffer = placed_[{at, from}];
    buffer.resize(frame.bytes);
    return std::span(buffer);
  }
  Status took(HostId at, HostId from, const RelayFrame& frame) {
    const std::lock_guard lock(mutex_);
    if (on_took) INSTEP_RETURN_IF_ERROR(on_took(at, from, frame));
    add(at, from, {Heard::What::kFrame, frame, std::exchange(placed_[{at, from}], {})});
    return {};
  }
  void up(HostId at, HostId peer) {
    const std::lock_guard lock(mutex_);
    add(at, peer, {Heard::What::kUp, {}, {}});
  }
  void down(HostId at, HostId peer) {
    const std::lock_guard lock(mutex_);
    add(at, peer, {Heard::What::kDown, {}, {}});
    if (on_down) on_down(at, peer);
  }

  std::size_t count(HostId at, HostId from, Heard::What what) {
    const std::lock_guard lock(mutex_);
    return counts_[{at, from, what}];
  }
  std::optional<RelayFrame> newest(HostId at, HostId from) {
    const std::lock_guard lock(mutex_);
    const auto& all = heard_[{at, from}];
    if (all.empty() || all.back().what != Heard::What::kFrame) return std::nullopt;
    return all.back().frame;
  }
  std::vector<Heard> heard(HostId at, HostId from) {
    const std::lock_guard lock(mutex_);
    return heard_[{at, from}];
  }
  // For hosts that live in other threads.
  bool wait(const std::function<bool()>& true_now) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(fabric::kTestMs), true_now);
  }
  void look_again() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

 private:
  void add(HostId at, HostId from, Heard heard) {
    ++counts_[{at, from, heard.what}];
    heard_[{at, from}].push_back(std::move(heard));
    changed_.notify_all();
  }

  std::recursive_mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::pair<HostId, HostId>, std::vector<std::byte>> placed_;
  std::map<std::pair<HostId, HostId>, std::vector<Heard>> heard_;
  std::map<std::tuple<HostId, HostId, Heard::What>, std::size_t> counts_;
};

// round::RelayNet. It has no ends of links, and no memory is let go of.
class QueueFabric {
 public:
  static constexpr std::uint64_t kTimes = 20;  // that a test runs, each with another seed
  QueueFabric(std::uint32_t /*hosts*/, std::uint64_t seed) : random_(seed) {}

  template <class Work>
  void in(HostId /*host*/, Work work) {
    work();
  }
  void send(HostId from, HostId to, const RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper) {
    kept_.push_back(std::move(keeper));
    round::RelayNet::Port(net_, from).send(to, frame, payload);
  }
  bool wait(const std::function<bool()>& true_now) {
    while (!true_now()) {
      const auto full = net_.full();
      if (full.empty() || testing::Test::HasFatalFailure()) return false;
      const auto link = full[random_.below(full.size())];
      Host host{log, link.second};
      net_.arriving.contains(link) ? net_.arrive(link, host) : net_.depart(link, host);
    }
    return true;
  }

  Log log;

 private:
  struct Host {
    Log& log;
    HostId me;
    Result<std::span<std::byte>> place(HostId from, const RelayFrame& frame) {
      return log.place(me, from, frame);
    }
    Status took(HostId from, const RelayFrame& frame) { return log.took(me, from, frame); }
  };
  Random random_;
  round::RelayNet net_;
  std::vector<std::shared_ptr<const void>> kept_;
};

// sim::Peers over a sim::Network. All hosts have links to all.
class VirtualFabric {
 public:
  static constexpr std::uint64_t kTimes = 20;
  VirtualFabric(std::uint32_t hosts, std::uint64_t seed)
      : random_(seed), timeline_(random_), net_(timeline_, random_, counts_) {
    for (HostId host = 0; host < hosts; ++host) {
      One& it = *hosts_.emplace_back(std::make_unique<One>(*this, host));
      net_.add(host, {&it.loop, [&it](const auto& link, const wire::HostMessage& /*message*/) {
                        it.peers.take(link->there(), link);
                        return &it.peers;
                      }});
    }
    for (HostId a = 0; a < hosts; ++a) {
      for (HostId b = 0; b < hosts; ++b) {
        if (a != b) hosts_[a]->peers.know(b);
      }
    }
    EXPECT_TRUE(wait([&] { return all_up(); }));
  }

  template <class Work>
  void in(HostId /*host*/, Work work) {
    work();
  }
  void send(HostId from, HostId to, const RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper) {
    hosts_[from]->peers.send(to, frame, payload, std::move(keeper));
  }
  void forget_waiting(HostId host) { hosts_[host]->peers.forget_waiting(); }
  void cut(HostId host, HostId peer) { hosts_[host]->peers.cut(peer); }
  std::function<void()> breaker(HostId a, HostId b) {
    return [this, a, b] { EXPECT_TRUE(net_.break_link(a, b)); };
  }
  // The host makes a second link to another, as one that has lost the first before the other knows.
  void link_again(HostId from, HostId to) {
    net_.connect(from, to, kSecond, [this](std::shared_ptr<sim::Link> link) {
      link->send(wire::PeerHello{});
      second_ = std::move(link);
    });
  }
  // Nothing arrives anywhere meanwhile.
  template <class Work>
  void while_still(HostId /*host*/, Work work) {
    work();
  }
  bool wait(const std::function<bool()>& true_now) {
    const sim::Nanoseconds limit = timeline_.now() + 60 * kSecond;
    while (!true_now()) {
      if (timeline_.now() > limit || !timeline_.step()) return false;
    }
    return true;
  }

  Log log;

 private:
  struct One final : sim::Peers::Handler {
    One(VirtualFabric& its, HostId host)
        : fabric(its),
          me(host),
          loop(its.timeline_, nullptr),
          peers(loop, its.net_, host, sim::Plant::kNone, *this) {}
    Result<std::span<std::byte>> place(HostId from, const RelayFrame& frame) override {
      return fabric.log.place(me, from, frame);
    }
    Status took(HostId from, const RelayFrame& frame) override {
      return fabric.log.took(me, from, frame);
    }
    void peer_is_up(HostId peer) override { fabric.log.up(me, peer); }
    void peer_is_down(HostId peer) override { fabric.log.down(me, peer); }

    VirtualFabric& fabric;
    const HostId me;
    sim::Loop loop;
    sim::Peers peers;
  };
  bool all_up() {
    for (HostId a = 0; a < hosts_.size(); ++a) {
      for (HostId b = 0; b < hosts_.size(); ++b) {
        if (a != b && !hosts_[a]->peers.is_up(b)) return false;
      }
    }
    return true;
  }

  Random random_;
  sim::Counts counts_;
  sim::Timeline timeline_;
  sim::Network net_;
  std::vector<std::unique_ptr<One>> hosts_;
  std::shared_ptr<sim::Link> second_;
};

// coord::Peers over TLS links, each host with a thread of its own. All hosts have links to all.
class TlsFabric {
 public:
  static constexpr std::uint64_t kTimes = 1;
  TlsFabric(std::uint32_t hosts, std::uint64_t /*seed*/) {
    for (HostId host = 0; host < hosts; ++host) {
      hosts_.push_back(std::make_unique<One>(*this, host));
    }
    for (HostId a = 0; a < hosts; ++a) {
      for (HostId b = 0; b < hosts; ++b) {
        if (a == b) continue;
        const fabric::Address address{"127.0.0.1", hosts_[b]->listener->port()};
        in(a, [&] { hosts_[a]->peers->know(b, address); });
      }
    }
    EXPECT_TRUE(wait([&] {
      for (HostId a = 0; a < hosts; ++a) {
        for (HostId b = 0; b < hosts; ++b) {
          if (a != b && log.count(a, b, Heard::What::kUp) == 0) return false;
        }
      }
      return true;
    }));
  }

  template <class Work>
  void in(HostId host, Work work) {
    fabric::in(hosts_[host]->loop, [&] {
      work();
      return 0;
    });
  }
  void send(HostId from, HostId to, const RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper) {
    hosts_[from]->peers->send(to, frame, payload, std::move(keeper));
  }
  void forget_waiting(HostId host) { hosts_[host]->peers->forget_waiting(); }
  void cut(HostId host, HostId peer) { hosts_[host]->peers->cut(peer); }
  // Breaks the hosts' link as a network does: its ends hear of it, each for itself.
  std::function<void()> breaker(HostId a, HostId b) {
    const One& listens = *hosts_[std::min(a, b)];
    std::uint16_t from = 0;
    in(listens.me, [&] { from = listens.ports.at(std::max(a, b)); });
    return [from, to = listens.listener->port()] { EXPECT_TRUE(shut(from, to)); };
  }
  // The host makes a second link to another, as one that has lost the first before the other knows.
  void link_again(HostId from, HostId to) {
    One& it = *hosts_[from];
    const fabric::Address address{"127.0.0.1", hosts_[to]->listener->port()};
    in(from, [&] {
      fabric::connect(it.loop, address, authority().issue(coord::host_name(from)).take(),
                      {fabric::kTestMs, coord::host_name(to), {}, ""}, [&it](auto link) {
                        it.second = link.take();
                        it.second->send({coord::kMessageFrame, 0, 0, 0, 0},
                                        wire::encode_host(wire::PeerHello{}));
                      });
    });
  }
  // The host takes nothing in meanwhile.
  template <class Work>
  void while_still(HostId host, Work work) {
    std::promise<void> stands, goes_on;
    hosts_[host]->loop.post([&] {
      stands.set_value();
      goes_on.get_future().wait();
    });
    stands.get_future().wait();
    work();
    goes_on.set_value();
    in(host, [] {});
  }
  bool wait(const std::function<bool()>& true_now) { return log.wait(true_now); }

  Log log;

 private:
  struct One final : coord::Peers::Handler {
    One(TlsFabric& its, HostId host) : fabric(its), me(host) {
      loop.start();
      fabric::in(loop, [this] {
        const fabric::Identity identity = authority().issue(coord::host_name(me)).take();
        peers.emplace(loop, identity, me, fabric::Compression::kAuto, *this);
        door.emplace([this](const auto& link, const auto& /*hello*/) { return meet(link); },
                     [](const std::string& /*address*/, const Error& /*why*/) {});
        listener =
            fabric::TlsListener::start(loop, {"127.0.0.1", 0}, identity, {}, [this](auto link) {
              door->take(std::move(link));
            }).take();
        return 0;
      });
    }
    ~One() override {
      fabric::in(loop, [this] {
        listener.reset();
        door->close();
        second.reset();
        peers.reset();
        return 0;
      });
    }
    fabric::TlsLink::Sink* meet(const coord::Door::Link& link) {
      const HostId from = coord::host_of(link->peer()).take();
      ports[from] = fabric::parse_address(link->address(), 0).take().port;
      peers->take(from, link);
      return &*peers;
    }
    Result<std::span<std::byte>> place(HostId from, const RelayFrame& frame) override {
      return fabric.log.place(me, from, frame);
    }
    Status took(HostId from, const RelayFrame& frame) override {
      return fabric.log.took(me, from, frame);
    }
    void peer_is_up(HostId peer) override { fabric.log.up(me, peer); }
    void peer_is_down(HostId peer, const Error& /*why*/) override { fabric.log.down(me, peer); }

    TlsFabric& fabric;
    const HostId me;
    std::optional<coord::Peers> peers;
    std::optional<coord::Door> door;
    std::unique_ptr<fabric::TlsListener> listener;
    std::shared_ptr<fabric::TlsLink> second;
    std::map<HostId, std::uint16_t> ports;  // from which hosts have come here
    fabric::Loop loop;
  };
  static const fabric::Authority& authority() {
    static const fabric::Authority kMade = fabric::Authority::make("test").take();
    return kMade;
  }
  static std::uint16_t port_of(int socket, decltype(&::getsockname) which) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    if (which(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
    return address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
  }
  // This process has both ends.
  static bool shut(std::uint16_t from, std::uint16_t to) {
    const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir("/proc/self/fd"), ::closedir);
    while (const dirent* it = ::readdir(all.get())) {
      const int socket = static_cast<int>(std::strtol(it->d_name, nullptr, 10));
      if (port_of(socket, ::getsockname) != from || port_of(socket, ::getpeername) != to) continue;
      return ::shutdown(socket, SHUT_RDWR) == 0;
    }
    return false;
  }

  std::vector<std::unique_ptr<One>> hosts_;
};

}  // namespace instep
