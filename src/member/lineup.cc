#include "member/lineup.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/text.h"
#include "member/slices.h"

namespace instep::member {
namespace {

// Where [0, length) is to be cut so that its parts are in proportion to the weights: their ends.
std::vector<std::uint64_t> cut(const std::vector<double>& weights, std::uint64_t length) {
  std::vector<double> sums(weights.size());
  std::partial_sum(weights.begin(), weights.end(), sums.begin());
  std::vector<std::uint64_t> ends;
  for (const double sum : sums) {
    ends.push_back(
        static_cast<std::uint64_t>(std::llround(sum / sums.back() * static_cast<double>(length))));
  }
  return ends;
}

// The shard next to part / whole of all, before or behind, at which the larger subtree of the
// canonical tree may begin: the tree splits at powers of two, so that begins at a multiple of its
// size.
std::uint32_t tree_cut(std::uint64_t part, std::uint64_t whole, std::uint32_t shards) {
  const auto before = static_cast<std::uint32_t>(part * shards / whole);
  const std::uint64_t rest = part * shards % whole;
  if (rest == 0) return before;
  const int zeros = std::countr_zero(before), zeros_behind = std::countr_zero(before + 1);
  return zeros > zeros_behind ? before : before + 1;
}

void spread_blocks(Lineup& lineup, const std::vector<HostWeight>& hosts, std::uint64_t blocks) {
  std::vector<double> links;
  for (const HostWeight& it : hosts) {
    INSTEP_CHECK(it.link > 0, "a host has a link");
    links.push_back(it.link);
  }
  const std::vector<std::uint64_t> ends = cut(best_slices(links), blocks);
  std::uint64_t next = 0;
  for (std::size_t k = 0; k < lineup.hosts.size(); ++k) {
    lineup.hosts[k].first_block = next;
    lineup.hosts[k].blocks = ends[k] - next;
    next = ends[k];
  }
}

Status malformed(const std::string& what) {
  return Error{ErrorKind::kInvalid, cat("the line-up does not hold together: ", what)};
}

Status validate_shards(const Lineup& lineup, std::uint32_t shards) {
  std::vector<bool> given(shards, false);
  std::size_t count = 0;
  for (const HostPart& part : lineup.hosts) {
    if (part.shards.empty()) return malformed(cat("host ", part.host, " has no shard"));
    for (const std::uint32_t shard : part.shards) {
      if (shard >= shards) return malformed(cat("there is no shard ", shard, " of ", shards));
      if (given[shard]) return malformed(cat("shard ", shard, " is given to two hosts"));
      given[shard] = true;
      ++count;
    }
    if (!std::is_sorted(part.shards.begin(), part.shards.end())) {
      return malformed(cat("the shards of host ", part.host, " are not ascending"));
    }
  }
  if (count != shards) return malformed(cat(count, " of ", shards, " shards are given to a host"));
  return {};
}

}  // namespace

const HostPart* part_of(const Lineup& lineup, HostId host) {
  const auto found = std::find_if(lineup.hosts.begin(), lineup.hosts.end(),
                                  [host](const HostPart& it) { return it.host == host; });
  return found == lineup.hosts.end() ? nullptr : &*found;
}

std::uint32_t agents_of(const Lineup& lineup) {
  std::uint32_t out = 0;
  for (const HostPart& part : lineup.hosts) out += part.agents;
  return out;
}

std::vector<HostId> lacked_peers(const Lineup& lineup, HostId me,
                                 const std::function<bool(HostId)>& is_up) {
  std::vector<HostId> out;
  for (const HostPart& part : lineup.hosts) {
    if (part.host != me && !is_up(part.host)) out.push_back(part.host);
  }
  return out;
}

Lineup assign_hosts(std::uint32_t number, std::uint64_t first_round,
                    const std::vector<HostWeight>& hosts, std::uint32_t shards,
                    std::uint64_t blocks) {
  INSTEP_CHECK(!hosts.empty() && hosts.size() <= shards, "each host has a shard");
  Lineup out;
  out.number = number;
  out.first_round = first_round;
  std::uint64_t agents = 0;
  for (const HostWeight& it : hosts) {
    INSTEP_CHECK(it.agents > 0, "a host has an agent");
    agents += it.agents;
  }
  const auto count = static_cast<std::uint32_t>(hosts.size());
  std::uint64_t agents_before = 0;
  std::uint32_t next = 0;
  for (std::uint32_t k = 0; k < count; ++k) {
    agents_before += hosts[k].agents;
    const std::uint32_t end =
        std::clamp(tree_cut(agents_before, agents, shards), next + 1, shards - (count - 1 - k));
    HostPart& part = out.hosts.emplace_back();
    part.host = hosts[k].host;
    part.agents = hosts[k].agents;
    part.shards.resize(end - next);
    std::iota(part.shards.begin(), part.shards.end(), next);
    next = end;
  }
  spread_blocks(out, hosts, blocks);
  return out;
}

Lineup keep_hosts(const Lineup& lineup, const std::vector<HostWeight>& left, std::uint32_t number,
                  std::uint64_t first_round) {
  Lineup out;
  out.number = number;
  out.first_round = first_round;
  std::vector<std::uint32_t> orphans;
  std::vector<double> shards;
  std::uint64_t blocks = 0;
  for (const HostPart& part : lineup.hosts) {
    blocks += part.blocks;
    const bool stays = std::any_of(left.begin(), left.end(),
                                   [&part](const HostWeight& it) { return it.host == part.host; });
    if (stays) {
      out.hosts.push_back(part);
      shards.push_back(static_cast<double>(part.shards.size()));
    } else {
      orphans.insert(orphans.end(), part.shards.begin(), part.shards.end());
    }
  }
  INSTEP_CHECK(!out.hosts.empty() && out.hosts.size() == left.size(), "those left were in");
  std::sort(orphans.begin(), orphans.end());
  const std::vector<std::uint64_t> ends = cut(shards, orphans.size());
  std::uint64_t next = 0;
  for (std::size_t k = 0; k < out.hosts.size(); ++k) {
    auto& mine = out.hosts[k].shards;
    for (; next < ends[k]; ++next) mine.push_back(orphans[next]);
    std::sort(mine.begin(), mine.end());
  }
  spread_blocks(out, left, blocks);
  return out;
}

Status validate(const Lineup& lineup, std::uint32_t shards, std::uint64_t blocks) {
  const auto& hosts = lineup.hosts;
  if (hosts.empty()) return malformed("it has no host");
  const auto no_later = [](const HostPart& a, const HostPart& b) { return a.host >= b.host; };
  if (std::adjacent_find(hosts.begin(), hosts.end(), no_later) != hosts.end()) {
    return malformed("hosts are not ascending");
  }
  if (hosts.size() > shards) return malformed(cat(hosts.size(), " hosts for ", shards, " shards"));
  INSTEP_RETURN_IF_ERROR(validate_shards(lineup, shards));
  std::uint64_t next = 0;
  for (const HostPart& part : hosts) {
    if (part.first_block != next || part.blocks > blocks - next) {
      return malformed(cat("the ", part.blocks, " blocks of host ", part.host, " from ",
                           part.first_block, " on do not follow block ", next, " of ", blocks));
    }
    next += part.blocks;
  }
  if (next != blocks) return malformed(cat("hosts add up ", next, " of ", blocks, " blocks"));
  if (lineup.donor && part_of(lineup, *lineup.donor) == nullptr) {
    return malformed(cat("the donor, host ", *lineup.donor, ", is not in"));
  }
  for (const HostId newcomer : lineup.newcomers) {
    if (part_of(lineup, newcomer) == nullptr) {
      return malformed(cat("host ", newcomer, ", which comes in with it, is not in"));
    }
    if (!lineup.donor || *lineup.donor == newcomer) {
      return malformed(cat("nobody gives host ", newcomer, " the state"));
    }
  }
  return {};
}

wire::HostsLineup to_message(const Lineup& lineup) {
  wire::HostsLineup message;
  message.number = lineup.number;
  message.first_round = lineup.first_round;
  message.donor = lineup.donor;
  message.newcomers = lineup.newcomers;
  for (const HostPart& part : lineup.hosts) {
    message.ids.push_back(part.host);
    message.shards.push_back(part.shards);
    message.first_block.push_back(part.first_block);
    message.blocks.push_back(part.blocks);
    message.agents.push_back(part.agents);
  }
  return message;
}

Result<Lineup> from_message(const wire::HostsLineup& message) {
  const std::size_t hosts = message.ids.size();
  if (message.shards.size() != hosts || message.first_block.size() != hosts ||
      message.blocks.size() != hosts || message.agents.size() != hosts) {
    return malformed("its lists of hosts differ in length").error();
  }
  Lineup lineup;
  lineup.number = message.number;
  lineup.first_round = message.first_round;
  lineup.donor = message.donor;
  lineup.newcomers = message.newcomers;
  for (std::size_t i = 0; i < hosts; ++i) {
    lineup.hosts.push_back({message.ids[i], message.shards[i], message.first_block[i],
                            message.blocks[i], message.agents[i]});
  }
  return lineup;
}

}  // namespace instep::member
