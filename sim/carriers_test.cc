// What a relay may rely on, whatever brings its frames to other hosts (round::Carrier); and what a
// bridge may of its host's links (coord::Peers), which come and go.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "round/state_move.h"
#include "testing_fabrics.h"

namespace instep {
namespace {

using What = Heard::What;

constexpr std::uint32_t kChunkBytes = round::kChunkElements * sizeof(float);
constexpr std::uint64_t kMany = (32 << 20) / kChunkBytes;  // chunks that no buffers hold

constexpr RelayFrame::Kind kKinds[] = {RelayFrame::Kind::kHead,  RelayFrame::Kind::kSums,
                                       RelayFrame::Kind::kWhole, RelayFrame::Kind::kWant,
                                       RelayFrame::Kind::kRows,  round::kBookFrame,
                                       round::kStateFrame};
constexpr std::uint32_t kSizes[] = {0, 1, 16, 4095, 65'537, kChunkBytes};

// The frame of that number from one host to another, and what goes with it.
RelayFrame frame_of(HostId from, HostId to, std::uint64_t number, std::uint32_t size) {
  return {
      kKinds[number % std::size(kKinds)], size, from + 1, to + 1, number, mix(from, to, number)};
}
std::span<const std::byte> payload_of(const RelayFrame& frame) {
  static const std::vector<std::uint64_t> kNoise = [] {
    std::vector<std::uint64_t> out((2 << 20) / sizeof(std::uint64_t));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = mix(i);
    return out;
  }();
  return std::as_bytes(std::span(kNoise)).subspan(frame.at % (1 << 20), frame.bytes);
}

// Hosts that send such frames to each other. Memory that is let go of is spoilt at once, so that
// whoever reads it later brings other bytes.
template <class Fabric>
class Hosts {
 public:
  Hosts(std::uint32_t hosts, std::uint64_t seed) : fabric(hosts, seed) {}

  // On the thread of the host that sends.
  void send(HostId from, HostId to, std::uint64_t number, std::uint32_t size) {
    const RelayFrame frame = frame_of(from, to, number, size);
    std::vector<std::byte>& memory = keep(payload_of(frame));
    ++kept;
    const std::shared_ptr<const void> keeper(&memory, [this, &memory](const void* /*memory*/) {
      std::ranges::fill(memory, std::byte{0xEE});
      --kept;
      fabric.log.look_again();
    });
    fabric.send(from, to, frame, memory, keeper);
  }
  void send_in(HostId from, HostId to, std::uint64_t number, std::uint32_t size) {
    fabric.in(from, [&] { send(from, to, number, size); });
  }
  // Until so many frames have come.
  void wait_for(HostId at, HostId from, std::size_t frames) {
    const bool came =
        fabric.wait([&] { return fabric.log.count(at, from, What::kFrame) >= frames; });
    ASSERT_TRUE(came) << "of " << frames << " frames " << fabric.log.count(at, from, What::kFrame)
                      << " came from " << from << " to " << at;
  }
  void wait_for_last(HostId at, HostId from, std::uint64_t number) {
    ASSERT_TRUE(fabric.wait([&] {
      const auto frame = fabric.log.newest(at, from);
      return frame && frame->round == number;
    })) << "frame "
        << number << " did not come from " << from << " to " << at;
  }
  // Until both are told as often.
  void wait_for(HostId a, HostId b, What what, std::size_t times) {
    ASSERT_TRUE(fabric.wait([&] {
      return fabric.log.count(a, b, what) >= times && fabric.log.count(b, a, what) >= times;
    })) << a
        << " and " << b;
  }
  // Of all that has come since the link was made that is there now, or of all before: the numbers,
  // when each frame is as it was sent.
  std::vector<std::uint64_t> numbers(HostId at, HostId from, bool before = false) {
    std::vector<std::uint64_t> out;
    std::vector<std::uint64_t> earlier;
    for (const Heard& heard : fabric.log.heard(at, from)) {
      if (heard.what == What::kUp) {
        earlier.insert(earlier.end(), out.begin(), out.end());
        out.clear();
      }
      if (heard.what == What::kFrame) out.push_back(number_of(at, from, heard));
    }
    return before ? earlier : out;
  }

 private:
  std::vector<std::byte>& keep(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    return memory_.emplace_back(bytes.begin(), bytes.end());
  }
  static std::uint64_t number_of(HostId at, HostId from, const Heard& heard) {
    const RelayFrame& came = heard.frame;
    const RelayFrame sent = frame_of(from, at, came.round, came.bytes);
    EXPECT_EQ(came.kind, sent.kind);
    EXPECT_EQ(came.lineup, sent.lineup);
    EXPECT_EQ(came.index, sent.index);
    EXPECT_EQ(came.at, sent.at);
    EXPECT_TRUE(std::ranges::equal(heard.payload, payload_of(sent))) << "frame " << came.round;
    return came.round;
  }

  std::mutex mutex_;
  std::deque<std::vector<std::byte>> memory_;

 public:
  std::atomic<std::size_t> kept = 0;  // pieces of memory that nobody has let go of
  Fabric fabric;
};

std::vector<std::uint64_t> from_to(std::uint64_t first, std::uint64_t end) {
  std::vector<std::uint64_t> out;
  for (std::uint64_t number = first; number < end; ++number) out.push_back(number);
  return out;
}

template <class Fabric>
class CarrierTest : public ::testing::Test {
 protected:
  // With as many seeds as the fabric is worth.
  template <class Body>
  void with_hosts(std::uint32_t count, Body body) {
    for (std::uint64_t seed = 0; seed < Fabric::kTimes && !this->HasFailure(); ++seed) {
      SCOPED_TRACE(cat("seed ", seed));
      Hosts<Fabric> hosts(count, seed);
      if (!this->HasFailure()) body(hosts);
    }
  }
};
template <class Fabric>
class LinksTest : public CarrierTest<Fabric> {};

struct FabricName {
  template <class Fabric>
  static std::string GetName(int /*number*/) {  // NOLINT(readability-identifier-naming): gtest's
    if (std::is_same_v<Fabric, QueueFabric>) return "Queue";
    return std::is_same_v<Fabric, VirtualFabric> ? "Simulated" : "Tls";
  }
};
using Fabrics = ::testing::Types<QueueFabric, VirtualFabric, TlsFabric>;
using LinkFabrics = ::testing::Types<VirtualFabric, TlsFabric>;
TYPED_TEST_SUITE(CarrierTest, Fabrics, FabricName);
TYPED_TEST_SUITE(LinksTest, LinkFabrics, FabricName);

TYPED_TEST(CarrierTest, FramesOfAllKindsAndSizesArriveWholeAndInOrder) {
  this->with_hosts(2, [](auto& hosts) {
    constexpr std::uint64_t kFrames = std::size(kKinds) * std::size(kSizes);
    static_assert(std::gcd(std::size(kKinds), std::size(kSizes)) == 1, "each kind has each size");
    hosts.fabric.in(0, [&] {
      for (std::uint64_t k = 0; k < kFrames; ++k)
        hosts.send(0, 1, k, kSizes[k % std::size(kSizes)]);
    });
    hosts.wait_for(1, 0, kFrames);
    EXPECT_EQ(hosts.numbers(1, 0), from_to(0, kFrames));
    const auto heard = hosts.fabric.log.heard(1, 0);
    for (std::uint64_t k = 0, at = 0; k < kFrames; ++at) {
      if (heard.at(at).what != What::kFrame) continue;
      EXPECT_EQ(heard[at].frame.bytes, kSizes[k++ % std::size(kSizes)]);
    }
  });
}

TYPED_TEST(CarrierTest, MoreThanAnyBufferHoldsGoesBothWaysAtOnce) {
  this->with_hosts(2, [](auto& hosts) {
    for (const HostId from : {0U, 1U}) {
      hosts.fabric.in(from, [&] {
        for (std::uint64_t k = 0; k < kMany; ++k) hosts.send(from, 1 - from, k, kChunkBytes);
      });
    }
    for (const HostId at : {0U, 1U}) {
      hosts.wait_for(at, 1 - at, kMany);
      EXPECT_EQ(hosts.numbers(at, 1 - at), from_to(0, kMany));
    }
  });
}

TYPED_TEST(CarrierTest, EachHostGetsItsOwn) {
  this->with_hosts(4, [](auto& hosts) {
    constexpr std::uint64_t kFrames = 40;
    for (HostId from = 0; from < 4; ++from) {
      hosts.fabric.in(from, [&] {
        for (std::uint64_t k = 0; k < kFrames * 4; ++k) {
          if (k % 4 != from) hosts.send(from, static_cast<HostId>(k % 4), k, kSizes[mix(k) % 6]);
        }
      });
    }
    for (HostId at = 0; at < 4; ++at) {
      for (HostId from = 0; from < 4; ++from) {
        if (at == from) continue;
        hosts.wait_for(at, from, kFrames);
        std::vector<std::uint64_t> its;
        for (std::uint64_t k = at; k < kFrames * 4; k += 4) its.push_back(k);
        EXPECT_EQ(hosts.numbers(at, from), its);
      }
    }
  });
}

TYPED_TEST(LinksTest, MemoryIsLetGoOfWhenItIsReadNoMore) {
  this->with_hosts(2, [](auto& hosts) {
    hosts.fabric.in(0, [&] {
      for (std::uint64_t k = 0; k < kMany; ++k) hosts.send(0, 1, k, kChunkBytes - k % 3);
    });
    EXPECT_TRUE(hosts.fabric.wait([&] { return hosts.kept == 0; })) << hosts.kept;
    hosts.wait_for(1, 0, kMany);
    EXPECT_EQ(hosts.numbers(1, 0), from_to(0, kMany));
  });
}

TYPED_TEST(LinksTest, TheEndOfALinkIsToldAtBothEndsAndNothingIsSentToWhomIsDown) {
  this->with_hosts(3, [](auto& hosts) {
    hosts.fabric.log.on_down = [&](HostId at, HostId peer) {
      hosts.send(at, peer, 7, kChunkBytes);
    };
    hosts.fabric.breaker(0, 1)();
    hosts.wait_for(0, 1, What::kDown, 1);
    EXPECT_TRUE(hosts.fabric.wait([&] { return hosts.kept == 0; })) << "it keeps what it drops";
    hosts.wait_for(0, 1, What::kUp, 2);
    for (const HostId from : {0U, 1U}) {
      hosts.send_in(from, 1 - from, 8, 1);
      hosts.wait_for(1 - from, from, 1);
      EXPECT_EQ(hosts.numbers(1 - from, from), from_to(8, 9));
    }
    for (const HostId other : {0U, 1U}) {
      EXPECT_EQ(hosts.fabric.log.count(2, other, What::kDown), 0U);
      EXPECT_EQ(hosts.fabric.log.count(other, 2, What::kDown), 0U);
    }
  });
}

TYPED_TEST(LinksTest, ALinkThatIsMadeAnewBringsNothingOfTheOldOne) {
  this->with_hosts(2, [](auto& hosts) {
    const auto breaks = hosts.fabric.breaker(0, 1);
    hosts.fabric.log.on_took = [&](HostId at, HostId /*from*/, const RelayFrame& frame) -> Status {
      if (at == 1 && frame.round == 3) breaks();
      return {};
    };
    for (const HostId from : {0U, 1U}) {
      hosts.fabric.in(from, [&] {
        for (std::uint64_t k = 0; k < kMany; ++k) hosts.send(from, 1 - from, k, kChunkBytes);
      });
    }
    hosts.wait_for(0, 1, What::kUp, 2);
    EXPECT_TRUE(hosts.fabric.wait([&] { return hosts.kept == 0; })) << "it keeps what it drops";
    for (const HostId from : {0U, 1U}) {
      const HostId at = 1 - from;
      for (std::uint64_t k = 1000; k < 1010; ++k) hosts.send_in(from, at, k, kChunkBytes);
      hosts.wait_for_last(at, from, 1009);
      EXPECT_EQ(hosts.numbers(at, from), from_to(1000, 1010));
      const auto before = hosts.numbers(at, from, true);
      EXPECT_EQ(before, from_to(0, before.size())) << "in order, and then no more";
    }
    EXPECT_LT(hosts.numbers(1, 0, true).size(), kMany);
  });
}

// Its end is told first: whoever hears of two links running would miss what was sent by the first.
TYPED_TEST(LinksTest, ALinkThatIsMadeBesideAnotherTakesItsPlace) {
  this->with_hosts(2, [](auto& hosts) {
    hosts.fabric.link_again(1, 0);
    hosts.wait_for(0, 1, What::kDown, 1);
    // The one that the host itself makes when it has lost the first takes the place of that.
    EXPECT_TRUE(hosts.fabric.wait([&] {
      return hosts.fabric.log.count(0, 1, What::kUp) >= 3 &&
             hosts.fabric.log.count(1, 0, What::kUp) >= 2;
    }));
    bool up = false;
    for (const Heard& heard : hosts.fabric.log.heard(0, 1)) {
      EXPECT_EQ(heard.what, up ? What::kDown : What::kUp);
      up = !up;
    }
    for (const HostId from : {0U, 1U}) {
      hosts.send_in(from, 1 - from, 4, kChunkBytes);
      hosts.wait_for(1 - from, from, 1);
      EXPECT_EQ(hosts.numbers(1 - from, from), from_to(4, 5));
    }
  });
}

TYPED_TEST(LinksTest, WhatIsForgottenIsNotSent) {
  this->with_hosts(3, [](auto& hosts) {
    hosts.fabric.while_still(1, [&] {
      hosts.fabric.in(0, [&] {
        for (std::uint64_t k = 0; k < kMany; ++k) hosts.send(0, 1, k, kChunkBytes);
        const std::size_t kept = hosts.kept;
        hosts.fabric.forget_waiting(0);
        EXPECT_LT(hosts.kept, kept);
        for (const HostId to : {1U, 2U}) hosts.send(0, to, kMany, 1);
      });
    });
    hosts.wait_for_last(1, 0, kMany);
    auto came = hosts.numbers(1, 0);
    EXPECT_LT(came.size(), kMany);
    came.pop_back();
    EXPECT_EQ(came, from_to(0, came.size()));
    hosts.wait_for(2, 0, 1);
    EXPECT_TRUE(hosts.fabric.wait([&] { return hosts.kept == 0; })) << hosts.kept;
    EXPECT_EQ(hosts.fabric.log.count(1, 0, What::kDown), 0U);
  });
}

// A receiver that answers with an Error ends that link, and nothing else.
template <class Hosts>
void refuse(Hosts& hosts, bool when_placed, std::uint32_t size) {
  const auto refuses = [](HostId at, HostId from, const RelayFrame& frame) -> Status {
    if (at == 1 && from == 0 && frame.round == 5) return invalid("not this one");
    return {};
  };
  (when_placed ? hosts.fabric.log.on_place : hosts.fabric.log.on_took) = refuses;
  hosts.fabric.in(0, [&] {
    for (std::uint64_t k = 0; k < 10; ++k) {
      hosts.send(0, 1, k, k == 5 ? size : 1000);
      hosts.send(0, 2, k, 1000);
    }
  });
  hosts.wait_for(0, 1, What::kDown, 1);
  hosts.wait_for(0, 1, What::kUp, 2);
  EXPECT_EQ(hosts.numbers(1, 0, true), from_to(0, 5));
  hosts.send_in(0, 1, 11, 1000);
  hosts.wait_for_last(1, 0, 11);
  EXPECT_EQ(hosts.numbers(1, 0), from_to(11, 12));
  hosts.wait_for(2, 0, 10);
  EXPECT_EQ(hosts.numbers(2, 0), from_to(0, 10));
  for (const HostId other : {0U, 1U}) {
    EXPECT_EQ(hosts.fabric.log.count(2, other, What::kDown), 0U);
    EXPECT_EQ(hosts.fabric.log.count(other, 2, What::kDown), 0U);
  }
}
TYPED_TEST(LinksTest, AnErrorForAHeadEndsThatLinkAlone) {
  this->with_hosts(3, [](auto& hosts) { refuse(hosts, true, kChunkBytes); });
}
TYPED_TEST(LinksTest, AnErrorForAPayloadEndsThatLinkAlone) {
  this->with_hosts(3, [](auto& hosts) { refuse(hosts, false, kChunkBytes); });
}
TYPED_TEST(LinksTest, AnErrorForAHeadWithoutAPayloadEndsThatLinkAlone) {
  this->with_hosts(3, [](auto& hosts) { refuse(hosts, true, 0); });
}

TYPED_TEST(LinksTest, WhoIsCutIsNeitherHeardNorSentAnything) {
  this->with_hosts(3, [](auto& hosts) {
    for (const HostId from : {0U, 1U}) {
      hosts.fabric.in(from, [&] {
        for (std::uint64_t k = 0; k < kMany; ++k) hosts.send(from, 1 - from, k, kChunkBytes);
      });
    }
    hosts.wait_for(0, 1, 1);
    std::size_t heard = 0;
    hosts.fabric.in(0, [&] {
      hosts.fabric.cut(0, 1);
      heard = hosts.fabric.log.count(0, 1, What::kFrame);
      hosts.send(0, 1, 1000, 1);
    });
    // It is told, and comes again for nothing.
    EXPECT_TRUE(hosts.fabric.wait(
        [&] { return hosts.fabric.log.count(1, 0, What::kDown) >= 2 && hosts.kept == 0; }));
    for (const HostId from : {1U, 2U}) hosts.send_in(from, 0, 1000, 1);
    hosts.wait_for(0, 2, 1);
    EXPECT_EQ(hosts.fabric.log.count(0, 1, What::kFrame), heard);
    EXPECT_EQ(hosts.fabric.log.count(0, 1, What::kUp), 1U);
    EXPECT_EQ(hosts.fabric.log.count(0, 1, What::kDown), 0U) << "it knows";
    const auto came = hosts.numbers(1, 0, true);
    EXPECT_EQ(came, from_to(0, came.size()));
    EXPECT_LT(came.size(), kMany);
    EXPECT_EQ(hosts.numbers(1, 0), from_to(0, 0));
  });
}

}  // namespace
}  // namespace instep
