#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/random.h"
#include "member/testing.h"

namespace instep::member {
namespace {

std::vector<AgentId> first(int count) {
  std::vector<AgentId> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

template <class Loads>
std::uint64_t spread(const Loads& loads) {
  const auto [least, most] = std::minmax_element(
      loads.begin(), loads.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return most->second - least->second;
}

std::map<AgentId, std::uint64_t> shards_of(const View& view) {
  std::map<AgentId, std::uint64_t> out;
  for (const AgentId agent : view.members) out[agent] = 0;
  for (const AgentId agent : view.shard_agent) {
    if (agent != kElsewhere) ++out[agent];
  }
  return out;
}

std::map<AgentId, std::uint64_t> blocks_of(const View& view) {
  std::map<AgentId, std::uint64_t> out;
  for (const Slice& slice : view.slices) out[slice.owner] += slice.blocks;
  return out;
}

TEST(Without, SurvivorsKeepWhatTheyHaveForAnyNumbers) {
  Random random(5);
  for (int i = 0; i < 3000; ++i) {
    const auto shards = static_cast<std::uint32_t>(1 + random.below(40));
    const std::uint64_t blocks = random.below(4) == 0 ? random.below(4) : random.below(3000);
    const Owners owners = random.below(2) == 0 ? Owners::kAll : Owners::kServers;
    const auto agents = first(static_cast<int>(1 + random.below(12)));
    View view = assign({2, 5}, 9, agents, shards, blocks, owners,
                       static_cast<std::uint32_t>(1 + random.below(5)));
    // One death after the other, or several at once.
    while (!view.members.empty()) {
      std::vector<AgentId> dead;
      std::vector<AgentId> everybody = view.members;
      everybody.insert(everybody.end(), view.spares.begin(), view.spares.end());
      for (const AgentId agent : everybody) {
        if (random.below(4) == 0) dead.push_back(agent);
      }
      if (dead.empty()) dead.push_back(everybody[random.below(everybody.size())]);
      const Epoch epoch{view.epoch.generation, view.epoch.number + 1};
      const View next = without(view, dead, epoch, view.first_op + 3);
      EXPECT_EQ(next.epoch, epoch);
      EXPECT_EQ(next.first_op, view.first_op + 3);
      for (const AgentId agent : dead) {
        EXPECT_FALSE(std::count(next.members.begin(), next.members.end(), agent));
        EXPECT_FALSE(std::count(next.spares.begin(), next.spares.end(), agent));
      }
      if (next.members.empty()) break;
      const Status status = validate(next, shards, blocks);
      ASSERT_TRUE(status.ok()) << status.error().message;
      const auto survives = [&next](AgentId agent) {
        return std::binary_search(next.members.begin(), next.members.end(), agent);
      };
      for (std::size_t shard = 0; shard < shards; ++shard) {
        if (!survives(view.shard_agent[shard])) continue;
        EXPECT_EQ(next.shard_agent[shard], view.shard_agent[shard]);
      }
      std::vector<AgentId> owner_before, owner_after;
      for (const Slice& it : view.slices)
        owner_before.insert(owner_before.end(), it.blocks, it.owner);
      for (const Slice& it : next.slices)
        owner_after.insert(owner_after.end(), it.blocks, it.owner);
      for (std::size_t block = 0; block < blocks; ++block) {
        if (!survives(owner_before[block])) continue;
        EXPECT_EQ(owner_after[block], owner_before[block]);
      }
      EXPECT_LE(next.slices.size(), view.slices.size() + next.members.size());
      if (spread(shards_of(view)) <= 1) {
        EXPECT_LE(spread(shards_of(next)), 1U);
      }
      if (blocks > 0 && spread(blocks_of(view)) <= 1) {
        EXPECT_LE(spread(blocks_of(next)), 1U);
      }
      const auto back = from_message(to_message(next));
      ASSERT_TRUE(back.ok());
      EXPECT_EQ(*back, next);
      view = next;
    }
  }
}

TEST(Without, ShardsGoBesideTheirSiblings) {
  const View view = assign({}, 0, first(4), 8, 9, Owners::kAll, 0);
  const View next = without(view, {2}, {1, 1}, 4);
  EXPECT_EQ(next.shard_agent, (std::vector<AgentId>{0, 0, 1, 1, 3, 0, 3, 3}));
  EXPECT_EQ(next.slices, (std::vector<Slice>{{0, 3, 0}, {3, 3, 1}, {6, 3, 3}}));
}

TEST(Without, ShardsOfOtherHostsStayThere) {
  const std::vector<std::uint32_t> mine = {2, 3, 4, 5};
  const View view = assign({}, 0, first(4), 8, 9, Owners::kAll, 0, &mine);
  const View next = without(view, {2}, {1, 1}, 4);
  EXPECT_EQ(next.shard_agent, (std::vector<AgentId>{-1, -1, 0, 1, 3, 3, -1, -1}));
  EXPECT_TRUE(validate(next, 8, 9).ok());
}

TEST(WithShards, WhatStaysHereStaysWithWhomItIsForAnyNumbers) {
  Random random(23);
  const auto some = [&random](std::uint32_t shards) {
    std::vector<std::uint32_t> out;
    const std::uint64_t sparse = 1 + random.below(3);
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      if (random.below(sparse) == 0) out.push_back(shard);
    }
    if (out.empty()) out.push_back(static_cast<std::uint32_t>(random.below(shards)));
    return out;
  };
  for (int i = 0; i < 3000; ++i) {
    const auto shards = static_cast<std::uint32_t>(1 + random.below(40));
    const Owners owners = random.below(2) == 0 ? Owners::kAll : Owners::kServers;
    std::vector<std::uint32_t> mine = some(shards);
    View view = assign({2, 5}, 9, first(static_cast<int>(1 + random.below(9))), shards, 70, owners,
                       static_cast<std::uint32_t>(1 + random.below(5)), &mine);
    for (int k = 0; k < 4; ++k) {
      const auto next = some(shards);
      const View after = with_shards(view, next);
      EXPECT_EQ(shards_here(after), next);
      EXPECT_EQ(after.members, view.members);
      EXPECT_EQ(after.slices, view.slices);
      const Status status = validate(after, shards, 70);
      ASSERT_TRUE(status.ok()) << status.error().message;
      for (const std::uint32_t shard : next) {
        if (view.shard_agent[shard] == kElsewhere) continue;
        EXPECT_EQ(after.shard_agent[shard], view.shard_agent[shard]);
      }
      if (std::includes(next.begin(), next.end(), mine.begin(), mine.end())) {
        EXPECT_LE(spread(shards_of(after)), std::max<std::uint64_t>(1, spread(shards_of(view))));
      }
      view = after;
      mine = next;
    }
  }
}

// Each of the two agents publishes one sum of what it takes over.
TEST(WithShards, ASubtreeThatComesIsHandedOutInRanges) {
  const std::vector<std::uint32_t> mine = {0, 1, 2, 3};
  const View view = assign({}, 0, first(2), 8, 9, Owners::kAll, 0, &mine);
  EXPECT_EQ(with_shards(view, {0, 1, 2, 3, 4, 5, 6, 7}).shard_agent,
            (std::vector<AgentId>{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(with_shards(view, {1, 2, 3}).shard_agent,
            (std::vector<AgentId>{-1, 0, 1, 1, -1, -1, -1, -1}));
}

TEST(Without, TheOnlyServersSuccessorIsOneServer) {
  const View view = assign({}, 0, first(3), 8, 9, Owners::kServers, 1);
  EXPECT_EQ(without(view, {0}, {1, 1}, 4).slices, (std::vector<Slice>{{0, 9, 1}}));
}

TEST(Without, AJoinStandsUntilItsRoundIsOver) {
  View view = assign({1, 3}, round_op(7), first(4), 8, 9, Owners::kAll, 0);
  view.joined = {1, 3};
  view.donor = 0;
  view.enters_at = round_op(7);
  ASSERT_TRUE(validate(view, 8, 9).ok());
  EXPECT_EQ(participants(view, gather_op(7, 0)), (std::vector<AgentId>{0, 2}));
  EXPECT_EQ(participants(view, round_op(7)), first(4));
  const View before = without(view, {0, 3}, {1, 4}, gather_op(7, 2));
  EXPECT_EQ(before.joined, (std::vector<AgentId>{1}));
  EXPECT_EQ(before.donor, 2);
  EXPECT_EQ(before.enters_at, round_op(7));
  EXPECT_EQ(without(view, {2}, {1, 4}, round_op(7)).donor, 0);
  const View after = without(view, {0}, {1, 4}, gather_op(8, 0));
  EXPECT_TRUE(after.joined.empty());
  EXPECT_EQ(after.donor, -1);
  EXPECT_EQ(without(view, {0, 2}, {1, 4}, round_op(7)).donor, -1);
}

TEST(Without, NobodyLeftIsAnEmptyView) {
  const View view = assign({}, 0, first(5), 2, 9, Owners::kAll, 0);
  const View next = without(view, {0, 1}, {1, 1}, 4);
  EXPECT_TRUE(next.members.empty());
  EXPECT_EQ(next.spares, (std::vector<AgentId>{2, 3, 4}));
}

TEST(Validate, FindsEachFaultOfAJoin) {
  View good = assign({}, round_op(4), first(3), 4, 10, Owners::kAll, 0);
  good.joined = {2};
  good.donor = 1;
  good.enters_at = round_op(4);
  ASSERT_TRUE(validate(good, 4, 10).ok());
  const auto breaks = [&good](auto change) {
    View view = good;
    change(view);
    return !validate(view, 4, 10).ok();
  };
  EXPECT_TRUE(breaks([](View& v) { v.joined = {3}; }));
  EXPECT_TRUE(breaks([](View& v) { v.joined = {2, 1}; }));
  EXPECT_TRUE(breaks([](View& v) { v.donor = 2; }));
  EXPECT_TRUE(breaks([](View& v) { v.donor = 9; }));
  EXPECT_TRUE(breaks([](View& v) { v.donor = -2; }));
  EXPECT_TRUE(breaks([](View& v) { v.enters_at = gather_op(5, 0); }));
  EXPECT_TRUE(breaks([](View& v) { v.first_op = gather_op(5, 0); }));
  EXPECT_FALSE(breaks([](View& v) { v.donor = -1; }));
}

}  // namespace
}  // namespace instep::member
