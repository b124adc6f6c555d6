// A line-up: which hosts train together, which of them computes which shards, and who adds up which
// blocks for all, from which round on. What a view is inside a host. Pure data and pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "wire/host_message.h"

namespace instep::member {

using HostId = std::uint32_t;  // one that is lost never comes back
// The one that coordinates. Before the first Go nobody else holds a state that others lack.
inline constexpr HostId kFirstHost = 0;

struct HostPart {
  HostId host = 0;
  std::vector<std::uint32_t> shards;          // ascending, at least one
  std::uint64_t first_block = 0, blocks = 0;  // those that it adds up for all hosts
  std::uint32_t agents = 1;
  bool operator==(const HostPart&) const = default;
};

struct Lineup {
  std::uint32_t number = 0;  // grows with every line-up of a run
  std::uint64_t first_round = 0;
  std::vector<HostPart> hosts;  // ascending; their blocks lie in the same order
  // Has the sums of round `first_round` - 1, which hosts that lack them get from there.
  std::optional<HostId> donor;
  // Hosts that come in with it and hold no state yet: the donor gives it to them. Ascending.
  std::vector<HostId> newcomers;
  bool operator==(const Lineup&) const = default;
};

// A host's part; null if it is not in.
const HostPart* part_of(const Lineup& lineup, HostId host);
// Of all hosts together.
std::uint32_t agents_of(const Lineup& lineup);
// The others that are in with a host and to which its link is not up.
std::vector<HostId> lacked_peers(const Lineup& lineup, HostId me,
                                 const std::function<bool(HostId)>& is_up);

// What a host brings along.
struct HostWeight {
  HostId host = 0;
  std::uint32_t agents = 1;  // at least 1
  double link = 1;           // how fast its line is, beside the others'; more than 0
};

// Shards in contiguous runs in proportion to agents, each run cut where the canonical tree has its
// largest subtrees (design, rule 14) as long as a cut lies less than one shard from where it
// should; blocks so that the slowest line is done soonest (slices.h). `hosts` is ascending and not
// empty, and there are at least as many shards.
Lineup assign_hosts(std::uint32_t number, std::uint64_t first_round,
                    const std::vector<HostWeight>& hosts, std::uint32_t shards,
                    std::uint64_t blocks);

// The line-up with those of its hosts that are left, ascending and not empty: they keep their
// shards, and get those of the lost ones in contiguous runs in proportion to what they have;
// blocks, of which nobody keeps anything from round to round, are spread as by assign_hosts().
Lineup keep_hosts(const Lineup& lineup, const std::vector<HostWeight>& left, std::uint32_t number,
                  std::uint64_t first_round);

// One from outside must hold together: every shard and every block at one host, hosts ascending.
Status validate(const Lineup& lineup, std::uint32_t shards, std::uint64_t blocks);

// The line-up on the wire, and back. from_message() checks what can be checked without the job;
// follow it by validate().
wire::HostsLineup to_message(const Lineup& lineup);
Result<Lineup> from_message(const wire::HostsLineup& message);

}  // namespace instep::member
