#include "wire/host_message.h"

#include <gtest/gtest.h>

namespace instep::wire {
namespace {

template <class T>
T again(const T& message) {
  const auto bytes = encode_host(message);
  auto read = decode_host(bytes);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return std::get<T>(read.take());
}

TEST(HostMessage, ComesBackAsItWas) {
  HostsLineup lineup{3, 70, 2, {5}, {0, 2}, {{0, 1, 5}, {2, 3, 4}}, {0, 100}, {100, 28}, {2, 7}};
  const HostsLineup read = again(lineup);
  EXPECT_EQ(read.number, 3U);
  EXPECT_EQ(read.first_round, 70U);
  EXPECT_EQ(read.donor, 2U);
  EXPECT_EQ(read.newcomers, lineup.newcomers);
  EXPECT_EQ(read.shards, lineup.shards);
  EXPECT_EQ(read.blocks, lineup.blocks);
  EXPECT_TRUE(again(HostWelcome{"r", "{}", "", true}).has_dataset);
  EXPECT_TRUE(again(HostWelcome{"r", "{}", "", false, true}).begun);
  EXPECT_TRUE(again(HostStands{4, 5, true}).empty);
  EXPECT_EQ(again(HostHello{1, "n", 2, "::1", 77}).port, 77U);
  EXPECT_EQ(again(HostReady{"a", "b", 8, 9, 1, {{"build", "x"}}}).fingerprint.at("build"), "x");
  EXPECT_EQ(again(Failed{1, "why"}).message, "why");
  const HostMeasured measured = again(HostMeasured{6, 70'000, 8, 9, true, {2, 5}, {1, ~0ULL}});
  EXPECT_EQ(measured.round_us, 70'000U);
  EXPECT_EQ(measured.rate, 9U);
  EXPECT_TRUE(measured.full);
  EXPECT_EQ(measured.slow, (std::vector<std::uint32_t>{2, 5}));
  EXPECT_EQ(measured.slow_rates, (std::vector<std::uint64_t>{1, ~0ULL}));
  EXPECT_EQ(again(HostsAsk{7}).number, 7U);
  const HostLacks lacks = again(HostLacks{7, {1, 4}});
  EXPECT_EQ(lacks.number, 7U);
  EXPECT_EQ(lacks.peers, (std::vector<std::uint32_t>{1, 4}));
  again(HostsEnd{});
  again(HostLeaves{});
  again(HostAsksStop{});
}

// Every few seconds one: less than a kB.
TEST(HostMessage, WhatIsMeasuredIsSaidBriefly) {
  HostMeasured longest{~0U, ~0ULL, ~0ULL, ~0ULL, true, {}, {}};
  longest.slow.assign(kMostSlow, ~0U);
  longest.slow_rates.assign(kMostSlow, ~0ULL);
  EXPECT_LT(encode_host(longest).size(), 400U);
}

TEST(HostMessage, RefusesWhatIsNone) {
  const std::vector<std::byte> bytes = encode_host(HostHello{});
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(decode_host(std::span(bytes).first(cut)).ok());
  }
  EXPECT_FALSE(decode_host(std::vector<std::byte>(kMaxHostMessageBytes + 1)).ok());
}

}  // namespace
}  // namespace instep::wire
