// A view without some of its members: who takes over what.
#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <map>

#include "member/view.h"

namespace instep::member {
namespace {

constexpr AgentId kOrphan = -2;  // of a shard whose agent is gone, until it is handed over

std::vector<AgentId> minus(const std::vector<AgentId>& ids, std::vector<AgentId> others) {
  std::sort(others.begin(), others.end());
  std::vector<AgentId> out;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(out),
               [&](AgentId id) { return !contains(others, id); });
  return out;
}

// How far up the canonical tree the node is that holds the shard and one of the agent's, for each
// agent that has shards.
std::map<AgentId, int> distances(const std::vector<AgentId>& shard_agent, std::size_t shard) {
  std::map<AgentId, int> nearest;
  for (std::size_t other = 0; other < shard_agent.size(); ++other) {
    if (shard_agent[other] < 0) continue;
    const auto far = static_cast<int>(std::bit_width(shard ^ other));
    const auto it = nearest.emplace_hint(nearest.end(), shard_agent[other], far);
    it->second = std::min(it->second, far);
  }
  return nearest;
}

void hand_over_shards(View& view) {
  std::map<AgentId, std::uint32_t> load;
  for (const AgentId member : view.members) load[member] = 0;
  std::vector<std::size_t> orphans;
  for (std::size_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    const auto holder = load.find(view.shard_agent[shard]);
    if (holder != load.end()) {
      ++holder->second;
    } else if (view.shard_agent[shard] != kElsewhere) {
      view.shard_agent[shard] = kOrphan;
      orphans.push_back(shard);
    }
  }
  for (const std::size_t shard : orphans) {
    const std::map<AgentId, int> nearest = distances(view.shard_agent, shard);
    AgentId best = -1;
    int best_distance = 0;
    for (const auto& [agent, shards] : load) {
      if (best >= 0 && shards > load[best]) continue;
      const auto it = nearest.find(agent);
      const int far = it == nearest.end() ? std::numeric_limits<int>::max() : it->second;
      if (best >= 0 && shards == load[best] && far >= best_distance) continue;
      best = agent;
      best_distance = far;
    }
    view.shard_agent[shard] = best;
    ++load[best];
  }
}

// How many of `orphans` blocks or shards each agent gets, so that all have as nearly the same as
// they can.
void level(std::map<AgentId, std::uint64_t>& load, std::uint64_t orphans) {
  std::vector<std::pair<std::uint64_t, AgentId>> order;
  for (const auto& [agent, has] : load) order.emplace_back(has, agent);
  std::sort(order.begin(), order.end());
  // The `filled` emptiest are raised to one level together.
  std::size_t filled = 1;
  std::uint64_t total = order[0].first + orphans;
  while (filled < order.size() && total > order[filled].first * filled) {
    total += order[filled++].first;
  }
  for (auto& [agent, has] : load) has = 0;
  for (std::size_t k = 0; k < filled; ++k) {
    const std::uint64_t target = total / filled + (k < total % filled ? 1 : 0);
    load[order[k].second] = target - std::min(target, order[k].first);
  }
}

void hand_over_slices(View& view) {
  std::map<AgentId, std::uint64_t> owned;
  std::map<AgentId, std::uint64_t> lost;
  std::uint64_t orphans = 0;
  const auto lives = [&view](AgentId agent) { return contains(view.members, agent); };
  for (const Slice& slice : view.slices) {
    (lives(slice.owner) ? owned : lost)[slice.owner] += slice.blocks;
    if (!lives(slice.owner)) orphans += slice.blocks;
  }
  if (orphans == 0) return;
  // Without an owner left as many others as there were own from now on.
  if (owned.empty()) {
    const std::size_t owners = std::min(lost.size(), view.members.size());
    for (std::size_t k = 0; k < owners; ++k) owned[view.members[k]] = 0;
  }
  level(owned, orphans);
  std::vector<Slice> slices;
  const auto add = [&slices](const Slice& slice) {
    if (!slices.empty() && slices.back().owner == slice.owner) {
      slices.back().blocks += slice.blocks;
    } else {
      slices.push_back(slice);
    }
  };
  auto next = owned.begin();
  for (const Slice& slice : view.slices) {
    if (lives(slice.owner)) {
      add(slice);
      continue;
    }
    for (std::uint64_t given = 0; given < slice.blocks;) {
      while (next->second == 0) ++next;
      const std::uint64_t blocks = std::min(next->second, slice.blocks - given);
      add({slice.first_block + given, blocks, next->first});
      next->second -= blocks;
      given += blocks;
    }
  }
  view.slices = std::move(slices);
}

}  // namespace

View without(const View& view, const std::vector<AgentId>& dead, Epoch epoch, Op first_op) {
  View out = view;
  out.epoch = epoch;
  out.first_op = first_op;
  out.members = minus(view.members, dead);
  out.spares = minus(view.spares, dead);
  out.joined = minus(view.joined, dead);
  if (out.members.empty()) {
    out.joined.clear();
    out.shard_agent.clear();
    out.slices.clear();
  }
  // Nobody passes the round that agents come in with before they are in.
  if (out.joined.empty() || first_op > out.enters_at) {
    out.joined.clear();
    out.enters_at = 0;
    out.donor = -1;
  }
  if (out.members.empty()) return out;
  if (out.donor >= 0 && !contains(out.members, out.donor)) {
    const std::vector<AgentId> in = minus(out.members, out.joined);
    out.donor = in.empty() ? -1 : in.front();
  }
  hand_over_shards(out);
  hand_over_slices(out);
  return out;
}

View with_shards(View view, const std::vector<std::uint32_t>& mine) {
  if (view.members.empty()) return view;
  std::map<AgentId, std::uint64_t> load;
  for (const AgentId member : view.members) load[member] = 0;
  std::vector<std::uint32_t> come;
  auto next = mine.begin();
  for (std::uint32_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    AgentId& agent = view.shard_agent[shard];
    if (next == mine.end() || *next != shard) {
      agent = kElsewhere;
      continue;
    }
    ++next;
    if (agent == kElsewhere) {
      come.push_back(shard);
    } else {
      ++load[agent];
    }
  }
  if (come.empty()) return view;
  level(load, come.size());
  auto given = come.begin();
  for (const auto& [agent, shards] : load) {
    for (std::uint64_t k = 0; k < shards; ++k) view.shard_agent[*given++] = agent;
  }
  return view;
}

std::vector<AgentId> participants(const View& view, Op op) {
  return op < view.enters_at ? minus(view.members, view.joined) : view.members;
}

}  // namespace instep::member
