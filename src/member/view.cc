#include "member/view.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include "base/text.h"

namespace instep::member {
namespace {

// How many maximal subtrees of the canonical tree over [0, length) make up [begin, end). The tree
// splits at the largest power of two below the length.
std::uint32_t subtrees(std::uint32_t length, std::uint32_t begin, std::uint32_t end) {
  if (begin >= end) return 0;
  if (begin == 0 && end == length) return 1;
  const std::uint32_t left = std::bit_floor(length - 1);
  const std::uint32_t below = subtrees(left, std::min(begin, left), std::min(end, left));
  const std::uint32_t above =
      subtrees(length - left, std::max(begin, left) - left, std::max(end, left) - left);
  return below + above;
}

// Consecutive shards of a list: from `shard` on, from place `at` of the list on.
struct Stretch {
  std::uint32_t shard, at, length;
};

std::vector<Stretch> stretches(const std::vector<std::uint32_t>& shards) {
  std::vector<Stretch> out;
  for (std::uint32_t at = 0; at < shards.size(); ++at) {
    if (!out.empty() && shards[at] == out.back().shard + out.back().length) {
      ++out.back().length;
    } else {
      out.push_back({shards[at], at, 1});
    }
  }
  return out;
}

// The same of the shards at [begin, end) of a list of some of the `shards`.
std::uint32_t subtrees(std::uint32_t shards, const std::vector<Stretch>& list, std::uint32_t begin,
                       std::uint32_t end) {
  std::uint32_t count = 0;
  for (const Stretch& it : list) {
    const std::uint32_t from = std::max(begin, it.at), to = std::min(end, it.at + it.length);
    if (from < to) count += subtrees(shards, it.shard + from - it.at, it.shard + to - it.at);
  }
  return count;
}

// Sizes of the `parts` ranges that a list of `length` of the shards is cut into: `length % parts`
// of them one larger than the others. Which ones are larger is chosen by dynamic programming over
// (parts placed, larger ones among them), which fixes where the next range begins.
std::vector<std::uint32_t> range_sizes(std::uint32_t shards, const std::vector<Stretch>& list,
                                       std::uint32_t length, std::uint32_t parts) {
  const std::uint32_t small = length / parts;
  const std::uint32_t large_count = length % parts;
  constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();
  const std::size_t width = large_count + 1;
  constexpr std::size_t kMostStates = 1 << 13;
  if (parts * width * list.size() > kMostStates) {
    std::vector<std::uint32_t> sizes(parts, small);
    std::fill_n(sizes.begin(), large_count, small + 1);
    return sizes;
  }
  // cost[k][l]: fewest subtrees of parts k… when l larger ones were placed before; filled
  // backwards.
  std::vector<std::uint32_t> cost((parts + 1) * width, kNever);
  std::vector<bool> larger(parts * width, false);
  cost[parts * width + large_count] = 0;
  for (std::uint32_t k = parts; k-- > 0;) {
    for (std::uint32_t l = 0; l <= std::min(large_count, k); ++l) {
      const std::uint32_t begin = k * small + l;
      std::uint32_t best = kNever;
      const auto consider = [&](bool takes_larger) {
        const std::uint32_t rest = cost[(k + 1) * width + l + (takes_larger ? 1 : 0)];
        if (rest == kNever) return;
        const std::uint32_t size = small + (takes_larger ? 1 : 0);
        const std::uint32_t total = rest + subtrees(shards, list, begin, begin + size);
        if (total >= best) return;
        best = total;
        larger[k * width + l] = takes_larger;
      };
      if (l < large_count) consider(true);
      consider(false);
      cost[k * width + l] = best;
    }
  }
  std::vector<std::uint32_t> sizes(parts);
  std::uint32_t placed = 0;
  for (std::uint32_t k = 0; k < parts; ++k) {
    const bool takes_larger = larger[k * width + placed];
    sizes[k] = small + (takes_larger ? 1 : 0);
    placed += takes_larger ? 1 : 0;
  }
  return sizes;
}

Status malformed(const std::string& what) {
  return Error{ErrorKind::kInvalid, cat("the view does not hold together: ", what)};
}

bool strictly_ascending(const std::vector<AgentId>& ids) {
  return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end() &&
         (ids.empty() || ids.front() >= 0);
}

Status validate_joining(const View& view, const std::set<AgentId>& members) {
  if (!strictly_ascending(view.joined)) return malformed("those who join are not ascending");
  for (const AgentId agent : view.joined) {
    if (!members.contains(agent))
      return malformed(cat("agent ", agent, " joins, but is no member"));
  }
  const bool by_book = view.donor == -1;
  if (!by_book && (!members.contains(view.donor) || contains(view.joined, view.donor))) {
    return malformed(cat("the donor, agent ", view.donor, ", is not in"));
  }
  if (view.joined.empty()) return {};
  if ((view.enters_at & kRoundOp) != kRoundOp) return malformed("agents join between rounds");
  if (view.first_op > view.enters_at) return malformed("agents join before it begins");
  return {};
}

}  // namespace

namespace {

std::uint64_t owner_count(std::uint32_t agents, std::uint32_t shards, std::uint64_t blocks,
                          Owners owners, std::uint32_t servers) {
  const std::uint32_t most =
      owners == Owners::kAll ? std::min(agents, shards) : std::clamp(servers, 1U, agents);
  return std::min<std::uint64_t>(most, blocks);
}

}  // namespace

std::uint32_t member_count(std::uint32_t agents, std::uint32_t shards, std::uint64_t blocks,
                           Owners owners, std::uint32_t servers) {
  const auto owning =
      static_cast<std::uint32_t>(owner_count(agents, shards, blocks, owners, servers));
  return std::max(std::min(agents, shards), owning);
}

bool contains(const std::vector<AgentId>& ids, AgentId agent) {
  return std::binary_search(ids.begin(), ids.end(), agent);
}

std::vector<std::uint32_t> shards_here(const View& view) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    if (view.shard_agent[shard] != kElsewhere) out.push_back(shard);
  }
  return out;
}

const View* view_in(const std::vector<View>& views, Op op) {
  const auto found = std::find_if(views.rbegin(), views.rend(),
                                  [op](const View& view) { return view.first_op <= op; });
  return found == views.rend() ? nullptr : &*found;
}

View assign(Epoch epoch, Op first_op, const std::vector<AgentId>& agents, std::uint32_t shards,
            std::uint64_t blocks, Owners owners, std::uint32_t servers,
            const std::vector<std::uint32_t>* mine) {
  INSTEP_CHECK(!agents.empty() && strictly_ascending(agents), "agents are ascending, at least one");
  INSTEP_CHECK(shards > 0 && (mine == nullptr || !mine->empty()), "a view has a shard");
  INSTEP_CHECK(mine == nullptr || mine->back() < shards, "a host has shards of the job");
  View view;
  view.epoch = epoch;
  view.first_op = first_op;
  const auto count = static_cast<std::uint32_t>(agents.size());
  const std::vector<Stretch> list =
      mine == nullptr ? std::vector<Stretch>{{0, 0, shards}} : stretches(*mine);
  const std::uint32_t length = list.back().at + list.back().length;
  const std::uint32_t computing = std::min(count, length);
  const std::vector<std::uint32_t> sizes = range_sizes(shards, list, length, computing);
  view.shard_agent.assign(shards, kElsewhere);
  std::uint32_t at = 0;
  for (std::uint32_t k = 0; k < computing; ++k) {
    for (const std::uint32_t end = at + sizes[k]; at < end; ++at) {
      view.shard_agent[mine == nullptr ? at : (*mine)[at]] = agents[k];
    }
  }
  const std::uint64_t owning = owner_count(count, length, blocks, owners, servers);
  std::uint64_t first_block = 0;
  for (std::uint64_t k = 0; k < owning; ++k) {
    const std::uint64_t size = blocks / owning + (k < blocks % owning ? 1 : 0);
    view.slices.push_back({first_block, size, agents[k]});
    first_block += size;
  }
  const std::uint32_t members = member_count(count, length, blocks, owners, servers);
  view.members.assign(agents.begin(), agents.begin() + members);
  view.spares.assign(agents.begin() + members, agents.end());
  return view;
}

Status validate(const View& view, std::uint32_t shards, std::uint64_t blocks) {
  if (!strictly_ascending(view.members)) return malformed("members are not ascending");
  if (!strictly_ascending(view.spares)) return malformed("spares are not ascending");
  const std::set<AgentId> members(view.members.begin(), view.members.end());
  for (const AgentId spare : view.spares) {
    if (members.contains(spare)) return malformed(cat("agent ", spare, " is member and spare"));
  }
  INSTEP_RETURN_IF_ERROR(validate_joining(view, members));
  if (view.shard_agent.size() != shards) {
    return malformed(cat(view.shard_agent.size(), " shards are assigned, the job has ", shards));
  }
  std::set<AgentId> busy;
  std::size_t elsewhere = 0;
  for (std::size_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    if (view.shard_agent[shard] == kElsewhere) {
      ++elsewhere;
      continue;
    }
    if (!members.contains(view.shard_agent[shard])) {
      return malformed(cat("shard ", shard, " is given to agent ", view.shard_agent[shard],
                           ", which is no member"));
    }
    busy.insert(view.shard_agent[shard]);
  }
  if (elsewhere == shards) return malformed("none of the shards is computed here");
  std::uint64_t next = 0;
  for (const Slice& slice : view.slices) {
    if (slice.first_block != next || slice.blocks == 0 || slice.blocks > blocks - next) {
      return malformed(cat("the slice at block ", slice.first_block, " with ", slice.blocks,
                           " blocks does not follow block ", next, " of ", blocks));
    }
    if (!members.contains(slice.owner)) {
      return malformed(cat("block ", next, " is owned by agent ", slice.owner, ", no member"));
    }
    busy.insert(slice.owner);
    next += slice.blocks;
  }
  if (next != blocks) return malformed(cat("slices cover ", next, " of ", blocks, " blocks"));
  if (elsewhere == 0 && busy != members) return malformed("a member has neither shard nor slice");
  return {};
}

wire::ViewMessage to_message(const View& view) {
  wire::ViewMessage message;
  message.generation = view.epoch.generation;
  message.number = view.epoch.number;
  message.first_op = view.first_op;
  message.enters_at = view.enters_at;
  message.donor = view.donor;
  message.joined = view.joined;
  message.members = view.members;
  message.spares = view.spares;
  message.shard_agent = view.shard_agent;
  for (const Slice& slice : view.slices) {
    message.slice_first_block.push_back(slice.first_block);
    message.slice_blocks.push_back(slice.blocks);
    message.slice_owner.push_back(slice.owner);
  }
  return message;
}

Result<View> from_message(const wire::ViewMessage& message) {
  View view;
  view.epoch = {message.generation, message.number};
  view.first_op = message.first_op;
  view.enters_at = message.enters_at;
  view.donor = message.donor;
  view.joined = message.joined;
  view.members = message.members;
  view.spares = message.spares;
  view.shard_agent = message.shard_agent;
  const std::size_t slices = message.slice_owner.size();
  if (message.slice_first_block.size() != slices || message.slice_blocks.size() != slices) {
    return malformed("its lists of slices differ in length").error();
  }
  for (std::size_t i = 0; i < slices; ++i) {
    view.slices.push_back(
        {message.slice_first_block[i], message.slice_blocks[i], message.slice_owner[i]});
  }
  return view;
}

}  // namespace instep::member
