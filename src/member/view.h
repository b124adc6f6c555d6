// A view: who is in, who computes which shard, who owns which blocks, from which round on. Pure
// data and pure functions; the coordinator publishes views, agents follow them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/message.h"

namespace instep::member {

using AgentId = std::int32_t;  // a slot on the host, 0…; never reused inside one run

// Grows for ever: a starting coordinator takes a generation above every one seen (design, rule 5).
struct Epoch {
  std::uint32_t generation = 1;
  std::uint32_t number = 0;
  auto operator<=>(const Epoch&) const = default;
};

struct Slice {
  std::uint64_t first_block = 0, blocks = 0;
  AgentId owner = 0;
  bool operator==(const Slice&) const = default;
};

struct View {
  Epoch epoch;
  std::uint64_t first_round = 0;
  std::vector<AgentId> members;      // those with a shard or a slice, ascending
  std::vector<AgentId> spares;       // admitted, with neither
  std::vector<AgentId> shard_agent;  // [shards]
  std::vector<Slice> slices;         // ascending, disjoint, covering all blocks
  bool operator==(const View&) const = default;
};

// Who owns: the policy's part of an assignment.
enum class Owners { kAll, kServers };

// Spreads `shards` over `agents` in contiguous ranges: as even as possible (to within one shard),
// and among those in as few maximal subtrees of the canonical tree as possible, since an agent
// sends one partial sum for each. Spreads `blocks` over the owners to within one block; an owner
// without a block has no slice. Owners are all agents with a shard, or the first `servers` agents
// (at least 1, at most all). With fewer shards than agents the last agents are spares, unless they
// own a slice. `agents` is ascending and not empty; `shards` is at least 1.
View assign(Epoch epoch, std::uint64_t first_round, const std::vector<AgentId>& agents,
            std::uint32_t shards, std::uint64_t blocks, Owners owners, std::uint32_t servers);

// A view from outside must hold together: every shard has a member, slices cover [0, blocks),
// members and spares are ascending and apart, and a member has a shard or a slice.
Status validate(const View& view, std::uint32_t shards, std::uint64_t blocks);

// The view on the wire, and back. from_message() checks what can be checked without the job; follow
// it by validate().
wire::ViewMessage to_message(const View& view);
Result<View> from_message(const wire::ViewMessage& message);

}  // namespace instep::member
