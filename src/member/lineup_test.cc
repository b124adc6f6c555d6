#include "member/lineup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace instep::member {
namespace {

using Shards = std::vector<std::uint32_t>;

std::vector<HostWeight> hosts_of(const std::vector<std::uint32_t>& agents) {
  std::vector<HostWeight> out;
  for (std::uint32_t k = 0; k < agents.size(); ++k) out.push_back({k, agents[k], 1.0});
  return out;
}

std::vector<std::size_t> sizes(const Lineup& lineup) {
  std::vector<std::size_t> out;
  for (const HostPart& part : lineup.hosts) out.push_back(part.shards.size());
  return out;
}

TEST(AssignHosts, HoldsTogetherForAnyNumbers) {
  Random random(3);
  for (int i = 0; i < 3000; ++i) {
    std::vector<HostWeight> hosts;
    HostId next = 0;
    std::uint32_t agents = 0;
    for (std::uint64_t k = 1 + random.below(8); k > 0; --k) {
      hosts.push_back({next, std::uint32_t(1 + random.below(6)), double(1 + random.below(4)) / 2});
      next += HostId(1 + random.below(3));
      agents += hosts.back().agents;
    }
    const auto shards = std::uint32_t(hosts.size() + random.below(60));
    const std::uint64_t blocks = random.below(4) == 0 ? random.below(5) : random.below(3000);
    const Lineup lineup = assign_hosts(4, 17, hosts, shards, blocks);
    const Status status = validate(lineup, shards, blocks);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(lineup.number, 4U);
    EXPECT_EQ(lineup.first_round, 17U);
    EXPECT_FALSE(lineup.donor);
    ASSERT_EQ(lineup.hosts.size(), hosts.size());
    for (std::size_t k = 0; k < hosts.size(); ++k) {
      const HostPart& part = lineup.hosts[k];
      EXPECT_EQ(part.host, hosts[k].host);
      EXPECT_EQ(part.shards.back() - part.shards.front() + 1, part.shards.size());
      // Each end is less than one shard from where it should be.
      if (shards >= 2 * agents) {
        EXPECT_LT(std::abs(double(part.shards.size()) - double(hosts[k].agents) * shards / agents),
                  2.0);
      }
    }
  }
}

TEST(AssignHosts, KnownCases) {
  const auto given = [](const std::vector<std::uint32_t>& agents, std::uint32_t shards) {
    return sizes(assign_hosts(1, 0, hosts_of(agents), shards, 10));
  };
  EXPECT_EQ(given({2, 2}, 8), (std::vector<std::size_t>{4, 4}));
  EXPECT_EQ(given({3, 1}, 8), (std::vector<std::size_t>{6, 2}));
  // Six would be five and a third: whole pairs.
  EXPECT_EQ(given({1, 1, 1}, 8), (std::vector<std::size_t>{2, 4, 2}));
  // In proportion to the shard: it is not moved to four.
  EXPECT_EQ(given({3, 7}, 10), (std::vector<std::size_t>{3, 7}));
  EXPECT_EQ(given({1, 50}, 4), (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(given({50, 1, 1}, 3), (std::vector<std::size_t>{1, 1, 1}));
}

TEST(AssignHosts, BlocksGoByTheLines) {
  const Lineup lineup = assign_hosts(1, 0, {{0, 1, 1.0}, {1, 1, 1.0}, {2, 1, 0.75}}, 8, 110);
  EXPECT_EQ(lineup.hosts[0].blocks, 50U);
  EXPECT_EQ(lineup.hosts[1].first_block, 50U);
  EXPECT_EQ(lineup.hosts[1].blocks, 50U);
  EXPECT_EQ(lineup.hosts[2].blocks, 10U);
}

TEST(KeepHosts, SurvivorsKeepTheirShardsForAnyNumbers) {
  Random random(5);
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::uint32_t> agents;
    for (std::uint64_t k = 2 + random.below(6); k > 0; --k) {
      agents.push_back(std::uint32_t(1 + random.below(4)));
    }
    const auto shards = std::uint32_t(agents.size() + random.below(40));
    const std::uint64_t blocks = random.below(4) == 0 ? random.below(5) : random.below(3000);
    Lineup lineup = assign_hosts(1, 0, hosts_of(agents), shards, blocks);
    while (lineup.hosts.size() > 1) {
      std::vector<HostWeight> left;
      for (const HostPart& part : lineup.hosts) {
        const bool last = left.empty() && &part == &lineup.hosts.back();
        if (last || random.below(3) > 0) {
          left.push_back({part.host, 1, double(1 + random.below(4)) / 2});
        }
      }
      const Lineup next = keep_hosts(lineup, left, lineup.number + 1, 5);
      EXPECT_EQ(next.number, lineup.number + 1);
      EXPECT_EQ(next.first_round, 5U);
      const Status status = validate(next, shards, blocks);
      ASSERT_TRUE(status.ok()) << status.error().message;
      EXPECT_EQ(next.hosts.size(), left.size());
      for (const HostPart& part : next.hosts) {
        const auto before = std::find_if(lineup.hosts.begin(), lineup.hosts.end(),
                                         [&](const HostPart& it) { return it.host == part.host; });
        ASSERT_NE(before, lineup.hosts.end());
        EXPECT_TRUE(std::includes(part.shards.begin(), part.shards.end(), before->shards.begin(),
                                  before->shards.end()));
      }
      lineup = next;
    }
  }
}

TEST(KeepHosts, WhatIsLostGoesToTheOthersAsTheyCan) {
  const Lineup lineup = assign_hosts(1, 0, {{0, 2, 1.0}, {1, 1, 0.5}, {2, 1, 0.5}}, 8, 100);
  const Lineup next = keep_hosts(lineup, {{1, 1, 0.5}, {2, 1, 0.5}}, 2, 9);
  EXPECT_EQ(next.hosts[0].shards, (Shards{0, 1, 4, 5}));
  EXPECT_EQ(next.hosts[1].shards, (Shards{2, 3, 6, 7}));
  EXPECT_EQ(next.hosts[0].blocks, 50U);
  const Lineup last = keep_hosts(next, {{1, 1, 0.5}}, 3, 9);
  EXPECT_EQ(last.hosts[0].shards, (Shards{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(last.hosts[0].blocks, 100U);
}

TEST(Lineup, HasAllAgents) {
  const Lineup all = assign_hosts(1, 0, hosts_of({2, 1, 4}), 8, 100);
  EXPECT_EQ(agents_of(all), 7U);
  const Lineup left = keep_hosts(all, {{0, 2, 1.0}, {2, 4, 1.0}}, 2, 9);
  EXPECT_EQ(agents_of(left), 6U);
  EXPECT_EQ(from_message(to_message(left)).take(), left);
}

TEST(Lineup, AHostLacksThoseOfItsPeersThatAreNotUp) {
  const Lineup lineup = assign_hosts(1, 0, {{0}, {2}, {3}, {7}}, 8, 100);
  // Nobody has a link to itself.
  const auto up = [](const std::vector<HostId>& peers) {
    return [peers](HostId it) { return std::find(peers.begin(), peers.end(), it) != peers.end(); };
  };
  EXPECT_EQ(lacked_peers(lineup, 3, up({})), (std::vector<HostId>{0, 2, 7}));
  EXPECT_EQ(lacked_peers(lineup, 3, up({2})), (std::vector<HostId>{0, 7}));
  EXPECT_EQ(lacked_peers(lineup, 0, up({2, 3, 7})), (std::vector<HostId>{}));
  // One that is out is not asked for.
  EXPECT_EQ(lacked_peers(lineup, 7, up({0, 1, 3})), (std::vector<HostId>{2}));
}

TEST(ValidateLineup, FindsEachFault) {
  const Lineup good = assign_hosts(1, 0, hosts_of({1, 1, 2}), 8, 100);
  ASSERT_TRUE(validate(good, 8, 100).ok());
  EXPECT_FALSE(validate(good, 9, 100).ok());
  EXPECT_FALSE(validate(good, 7, 100).ok());
  EXPECT_FALSE(validate(good, 2, 100).ok());
  EXPECT_FALSE(validate(good, 8, 101).ok());
  EXPECT_FALSE(validate(good, 8, 99).ok());
  EXPECT_FALSE(validate(Lineup{}, 8, 100).ok());
  const auto breaks = [&good](auto change) {
    Lineup lineup = good;
    change(lineup);
    return !validate(lineup, 8, 100).ok();
  };
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].host = 0; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].host = 3; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].shards.clear(); }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].shards[0] = 0; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].shards[0] = 8; }));
  EXPECT_TRUE(breaks([](Lineup& it) { std::swap(it.hosts[1].shards[0], it.hosts[1].shards[1]); }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].shards.pop_back(); }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].first_block += 1; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[1].blocks = ~0ULL; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.hosts[2].blocks -= 1; }));
  EXPECT_TRUE(breaks([](Lineup& it) { it.donor = 3; }));
  EXPECT_FALSE(breaks([](Lineup& it) { it.donor = 2; }));
}

}  // namespace
}  // namespace instep::member
