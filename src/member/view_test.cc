#include "member/view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
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

std::map<AgentId, std::uint32_t> loads(const View& view) {
  std::map<AgentId, std::uint32_t> out;
  for (const AgentId agent : view.shard_agent) ++out[agent];
  return out;
}

// Every node of the canonical tree over [begin, end), by the definition in design rule 14.
void nodes(std::uint32_t begin, std::uint32_t end,
           std::vector<std::pair<std::uint32_t, std::uint32_t>>& out) {
  out.push_back({begin, end});
  if (end - begin < 2) return;
  const std::uint32_t cut = begin + std::bit_floor(end - begin - 1);
  nodes(begin, cut, out);
  nodes(cut, end, out);
}

// The number of partial sums that the view's agents send: greedy cover by largest nodes.
std::uint32_t partials(const std::vector<AgentId>& shard_agent) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> all;
  nodes(0, static_cast<std::uint32_t>(shard_agent.size()), all);
  std::uint32_t count = 0;
  for (std::uint32_t shard = 0; shard < shard_agent.size();) {
    std::uint32_t reach = shard + 1;
    for (const auto& [begin, end] : all) {
      if (begin != shard || end <= reach) continue;
      const bool whole = std::all_of(shard_agent.begin() + begin, shard_agent.begin() + end,
                                     [&](AgentId agent) { return agent == shard_agent[shard]; });
      if (whole) reach = end;
    }
    shard = reach;
    ++count;
  }
  return count;
}

TEST(Assign, HoldsTogetherForAnyNumbers) {
  Random random(11);
  for (int i = 0; i < 3000; ++i) {
    const auto shards = static_cast<std::uint32_t>(1 + random.below(70));
    const std::uint64_t blocks = random.below(4) == 0 ? random.below(4) : random.below(5000);
    const Owners owners = random.below(2) == 0 ? Owners::kAll : Owners::kServers;
    const auto servers = static_cast<std::uint32_t>(random.below(15));
    std::vector<AgentId> agents;
    AgentId next = 0;
    for (std::uint64_t k = 1 + random.below(14); k > 0; --k) {
      next += static_cast<AgentId>(1 + random.below(3));
      agents.push_back(next);
    }
    const View view = assign({2, 5}, 99, agents, shards, blocks, owners, servers);
    SCOPED_TRACE(::testing::Message() << agents.size() << " agents, " << shards << " shards, "
                                      << blocks << " blocks, servers " << servers);
    EXPECT_EQ(view.epoch, (Epoch{2, 5}));
    EXPECT_EQ(view.first_op, 99U);
    const Status status = validate(view, shards, blocks);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_TRUE(std::is_sorted(view.shard_agent.begin(), view.shard_agent.end()));
    std::vector<AgentId> everybody = view.members;
    everybody.insert(everybody.end(), view.spares.begin(), view.spares.end());
    EXPECT_EQ(everybody, agents);
    const auto load = loads(view);
    EXPECT_EQ(load.size(), std::min<std::size_t>(agents.size(), shards));
    const auto [least, most] = std::minmax_element(
        load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
    EXPECT_LE(most->second - least->second, 1U);
    const std::uint64_t owning = owners == Owners::kAll
                                     ? std::min<std::uint64_t>(agents.size(), shards)
                                     : std::clamp<std::uint64_t>(servers, 1, agents.size());
    EXPECT_EQ(view.slices.size(), std::min(owning, blocks));
    for (const Slice& slice : view.slices) {
      EXPECT_LE(slice.blocks, view.slices.front().blocks);
      EXPECT_GE(slice.blocks + 1, view.slices.front().blocks);
    }
    const auto back = from_message(to_message(view));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, view);
  }
}

TEST(Assign, TakesTheFewestPartialsThatEvenRangesAllow) {
  for (std::uint32_t shards = 1; shards <= 13; ++shards) {
    for (std::uint32_t parts = 1; parts <= shards; ++parts) {
      // Every choice of which ranges are the larger ones.
      std::uint32_t best = ~0U;
      for (std::uint32_t mask = 0; mask < (1U << parts); ++mask) {
        if (static_cast<std::uint32_t>(std::popcount(mask)) != shards % parts) continue;
        std::vector<AgentId> given;
        for (std::uint32_t k = 0; k < parts; ++k) {
          given.insert(given.end(), shards / parts + ((mask >> k) & 1U), AgentId(k));
        }
        best = std::min(best, partials(given));
      }
      const View view = assign({}, 0, first(int(parts)), shards, 10, Owners::kAll, 0);
      EXPECT_EQ(partials(view.shard_agent), best) << shards << " shards, " << parts << " agents";
    }
  }
}

TEST(Assign, KnownCases) {
  const auto given = [](int agents, std::uint32_t shards) {
    return assign({}, 0, first(agents), shards, 7, Owners::kAll, 0).shard_agent;
  };
  EXPECT_EQ(given(4, 8), (std::vector<AgentId>{0, 0, 1, 1, 2, 2, 3, 3}));
  // Pairs on even places: six subtrees for six agents, where {2,1,2,1,1,1} would cut one in two.
  EXPECT_EQ(given(6, 8), (std::vector<AgentId>{0, 0, 1, 1, 2, 3, 4, 5}));
  const View view = assign({}, 0, first(3), 2, 7, Owners::kAll, 0);
  EXPECT_EQ(view.members, first(2));
  EXPECT_EQ(view.spares, (std::vector<AgentId>{2}));
  EXPECT_EQ(view.slices, (std::vector<Slice>{{0, 4, 0}, {4, 3, 1}}));
}

TEST(View, TheNewestThatHoldsInAnOp) {
  // A death undid what was planned: the third begins before the second.
  std::vector<View> views(3);
  views[0].first_op = round_op(2);
  views[1].first_op = round_op(8);
  views[2].first_op = round_op(5);
  EXPECT_EQ(view_in(views, round_op(1)), nullptr);
  EXPECT_EQ(view_in(views, round_op(2)), &views[0]);
  EXPECT_EQ(view_in(views, gather_op(5, 0)), &views[0]);
  EXPECT_EQ(view_in(views, round_op(5)), &views[2]);
  EXPECT_EQ(view_in(views, round_op(9)), &views[2]);
  EXPECT_EQ(view_in({}, round_op(9)), nullptr);
}

TEST(Assign, SpreadsAHostsShardsAndNoOthers) {
  Random random(17);
  for (int i = 0; i < 3000; ++i) {
    const auto shards = static_cast<std::uint32_t>(1 + random.below(60));
    const std::uint64_t sparse = 1 + random.below(3);
    std::vector<std::uint32_t> mine;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      if (random.below(sparse) == 0) mine.push_back(shard);
    }
    if (mine.empty()) mine.push_back(static_cast<std::uint32_t>(random.below(shards)));
    const auto agents = first(static_cast<int>(1 + random.below(12)));
    const View view = assign({2, 5}, 99, agents, shards, 50, Owners::kAll, 1, &mine);
    SCOPED_TRACE(::testing::Message() << agents.size() << " agents, " << mine.size() << " shards");
    const Status status = validate(view, shards, 50);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(shards_here(view), mine);
    const auto own = static_cast<std::uint32_t>(mine.size());
    EXPECT_EQ(view.members.size(), std::min<std::size_t>(agents.size(), own));
    EXPECT_EQ(view.members.size(),
              member_count(std::uint32_t(agents.size()), own, 50, Owners::kAll, 1));
    std::vector<AgentId> given;
    for (const std::uint32_t shard : mine) given.push_back(view.shard_agent[shard]);
    EXPECT_TRUE(std::is_sorted(given.begin(), given.end()));
    std::map<AgentId, std::uint32_t> load;
    for (const AgentId agent : given) ++load[agent];
    EXPECT_EQ(load.size(), view.members.size());
    const auto [least, most] = std::minmax_element(
        load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
    EXPECT_LE(most->second - least->second, 1U);
    const auto back = from_message(to_message(view));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, view);
  }
}

TEST(Assign, AllShardsByNameAreAllShards) {
  for (std::uint32_t shards = 1; shards <= 40; ++shards) {
    std::vector<std::uint32_t> all(shards);
    std::iota(all.begin(), all.end(), 0);
    for (int agents = 1; agents <= 12; ++agents) {
      EXPECT_EQ(assign({}, 0, first(agents), shards, 9, Owners::kAll, 0, &all),
                assign({}, 0, first(agents), shards, 9, Owners::kAll, 0));
    }
  }
}

// The upper half of 16 shards among six: pairs on even places, as in a tree of eight.
TEST(Assign, ASubtreeIsATreeOfItsOwn) {
  const std::vector<std::uint32_t> upper = {8, 9, 10, 11, 12, 13, 14, 15};
  const View view = assign({}, 0, first(6), 16, 7, Owners::kAll, 0, &upper);
  const View alone = assign({}, 0, first(6), 8, 7, Owners::kAll, 0);
  EXPECT_EQ(std::vector<AgentId>(view.shard_agent.begin() + 8, view.shard_agent.end()),
            alone.shard_agent);
}

TEST(Assign, ServersBeyondTheShardsAreMembersWithoutAShard) {
  const View view = assign({}, 0, first(5), 2, 9, Owners::kServers, 4);
  EXPECT_EQ(view.members, first(4));
  EXPECT_EQ(view.spares, (std::vector<AgentId>{4}));
  EXPECT_EQ(view.slices.size(), 4U);
  const View master = assign({}, 0, first(3), 8, 9, Owners::kServers, 1);
  EXPECT_EQ(master.slices, (std::vector<Slice>{{0, 9, 0}}));
  EXPECT_EQ(master.members, first(3));
}

TEST(Assign, NoBlocksMeansNoSlices) {
  const View view = assign({}, 0, first(3), 8, 0, Owners::kServers, 2);
  EXPECT_TRUE(view.slices.empty());
  EXPECT_TRUE(validate(view, 8, 0).ok());
}

TEST(Validate, FindsEachFault) {
  const View good = assign({}, 0, first(3), 4, 10, Owners::kAll, 0);
  ASSERT_TRUE(validate(good, 4, 10).ok());
  EXPECT_FALSE(validate(good, 5, 10).ok());
  EXPECT_FALSE(validate(good, 4, 11).ok());
  EXPECT_FALSE(validate(good, 4, 9).ok());
  const auto breaks = [&good](auto change) {
    View view = good;
    change(view);
    return !validate(view, 4, 10).ok();
  };
  EXPECT_TRUE(breaks([](View& v) { v.shard_agent[1] = 9; }));
  EXPECT_TRUE(breaks([](View& v) { v.shard_agent[1] = -2; }));
  EXPECT_TRUE(breaks([](View& v) { v.shard_agent.assign(4, kElsewhere); }));
  EXPECT_FALSE(breaks([](View& v) { v.shard_agent[1] = kElsewhere; }));
  EXPECT_TRUE(breaks([](View& v) { v.slices[1].owner = 7; }));
  EXPECT_TRUE(breaks([](View& v) { v.slices[1].first_block += 1; }));
  EXPECT_TRUE(breaks([](View& v) { v.slices[1].blocks = ~0ULL; }));
  EXPECT_TRUE(breaks([](View& v) { v.slices.pop_back(); }));
  EXPECT_TRUE(breaks([](View& v) { v.slices.insert(v.slices.begin(), Slice{0, 0, 0}); }));
  EXPECT_TRUE(breaks([](View& v) { v.members = {2, 1, 0}; }));
  EXPECT_TRUE(breaks([](View& v) { v.members.push_back(3); }));
  EXPECT_TRUE(breaks([](View& v) { v.spares = {2}; }));
  EXPECT_TRUE(breaks([](View& v) { v.spares = {5, 4}; }));
  // Shards that went elsewhere may leave a member with nothing.
  EXPECT_TRUE(breaks([](View& v) { v.slices = {{0, 10, 0}}, v.shard_agent = {0, 0, 1, 1}; }));
  EXPECT_FALSE(breaks([](View& v) {
    v.slices = {{0, 10, 0}}, v.shard_agent = {0, 0, 1, kElsewhere};
  }));
  wire::ViewMessage message = to_message(good);
  message.slice_blocks.pop_back();
  EXPECT_FALSE(from_message(message).ok());
}

TEST(Assign, MakesAsManyMembersAsMemberCountSays) {
  for (std::uint32_t agents = 1; agents <= 9; ++agents) {
    std::vector<AgentId> all;
    for (std::uint32_t k = 0; k < agents; ++k) all.push_back(static_cast<AgentId>(3 * k));
    for (std::uint32_t shards = 1; shards <= 9; ++shards) {
      for (const std::uint64_t blocks : {0U, 1U, 3U, 100U}) {
        for (const std::uint32_t servers : {0U, 2U, 20U}) {
          const Owners owners = servers == 0 ? Owners::kAll : Owners::kServers;
          const View view = assign({1, 1}, 0, all, shards, blocks, owners, servers);
          EXPECT_EQ(view.members.size(), member_count(agents, shards, blocks, owners, servers));
        }
      }
    }
  }
}

// More agents than the fewest subtrees are looked for.
TEST(Assign, IsEvenAndValidForAThousandAgents) {
  std::vector<AgentId> all;
  for (AgentId agent = 0; agent < 1000; ++agent) all.push_back(agent);
  for (const std::uint32_t shards : {1000U, 1500U, 1999U, 2000U, 65536U}) {
    const View view = assign({1, 1}, 0, all, shards, 5000, Owners::kAll, 1);
    ASSERT_TRUE(validate(view, shards, 5000).ok());
    std::vector<std::uint32_t> of(1000);
    for (const AgentId agent : view.shard_agent) ++of[static_cast<std::size_t>(agent)];
    const auto [least, most] = std::minmax_element(of.begin(), of.end());
    EXPECT_LE(*most - *least, 1U) << shards;
  }
}

}  // namespace
}  // namespace instep::member
