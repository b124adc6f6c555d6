// A view: who is in, who computes which shard, who owns which blocks, from which round on. Pure
// data and pure functions; the coordinator publishes views, agents follow them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/message.h"

namespace instep::member {

// A slot on the host, 0…; given to a new process only when nobody can read what the last one left.
using AgentId = std::int32_t;
inline constexpr AgentId kElsewhere = -1;  // of a shard that another host computes

// Where an agent stands: a round or a gather, the same sequence on every member. Gathers after
// `rounds` finished rounds are numbered from 0, and the next round comes behind all of them.
using Op = std::uint64_t;
inline constexpr int kOpBits = 14;
inline constexpr std::uint64_t kRoundOp = (1U << kOpBits) - 1;
inline constexpr Op gather_op(std::uint64_t rounds, std::uint64_t index) {
  return rounds << kOpBits | index;
}
inline constexpr Op round_op(std::uint64_t round) { return round << kOpBits | kRoundOp; }
inline constexpr std::uint64_t rounds_before(Op op) { return op >> kOpBits; }

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

// A view begins with an op: after a death the first one that the dead have not finished their part
// of, so nobody can be past it; for a planned change a round that nobody has begun. What is under
// way there is done again under it: shards and slices of survivors stay theirs, so only what the
// dead had is computed anew.
struct View {
  Epoch epoch;
  Op first_op = 0;
  // Ascending: those with a shard or a slice, and those whose shards went to other hosts meanwhile.
  std::vector<AgentId> members;
  std::vector<AgentId> spares;  // admitted, with neither
  // Members that come in with it, at the op `enters_at`, which is a round: they take no part in
  // gathers before. They take the state from the donor's book; donor -1: from a book sent along.
  std::vector<AgentId> joined;
  Op enters_at = 0;
  AgentId donor = -1;
  std::vector<AgentId> shard_agent;  // [shards]; kElsewhere
  std::vector<Slice> slices;         // ascending, disjoint, covering all blocks
  bool operator==(const View&) const = default;
};

// Whether the agent is among them, who are ascending.
bool contains(const std::vector<AgentId>& ids, AgentId agent);
// The shards that are not elsewhere, ascending.
std::vector<std::uint32_t> shards_here(const View& view);
// The newest of these views, ascending by number, that holds in an op; null if all begin later.
const View* view_in(const std::vector<View>& views, Op op);

// Who owns: the policy's part of an assignment.
enum class Owners { kAll, kServers };

// Spreads `shards` over `agents` in contiguous ranges: as even as possible (to within one shard),
// and among those in as few maximal subtrees of the canonical tree as possible, since an agent
// sends one partial sum for each. Spreads `blocks` over the owners to within one block; an owner
// without a block has no slice. Owners are all agents with a shard, or the first `servers` agents
// (at least 1, at most all). With fewer shards than agents the last agents are spares, unless they
// own a slice. `agents` is ascending and not empty; `shards` is at least 1.
// Above some 100 agents with a remainder of shards the fewest subtrees are not looked for: the
// first agents have one shard more.
// `mine`, ascending and not empty: the shards of this host, the only ones that are spread and that
// agents are counted by; all others are elsewhere. Null: all are.
View assign(Epoch epoch, Op first_op, const std::vector<AgentId>& agents, std::uint32_t shards,
            std::uint64_t blocks, Owners owners, std::uint32_t servers,
            const std::vector<std::uint32_t>* mine = nullptr);

// How many of so many agents assign() makes members: the first ones. `shards`: of this host.
std::uint32_t member_count(std::uint32_t agents, std::uint32_t shards, std::uint64_t blocks,
                           Owners owners, std::uint32_t servers);

// `view` without `dead`, from `first_op` on: survivors keep what they have, and the shards and
// slices of the dead go to those with the fewest, so that loads differ by one at most where they
// did before. A shard goes beside its siblings where it can, blocks are split evenly. Spares stay
// spares: they come in by a planned view. Empty members: nobody is left.
View without(const View& view, const std::vector<AgentId>& dead, Epoch epoch, Op first_op);
// `view` where `mine` are the shards of this host: those that it keeps stay with whom they are,
// those that come to it go to the members with the fewest, in contiguous ranges, since most often
// whole subtrees come. Members stay, and so do slices, though no shard may be left for one.
View with_shards(View view, const std::vector<std::uint32_t>& mine);
// Those who take part in an op under the view: all members, or those who are in already.
std::vector<AgentId> participants(const View& view, Op op);

// A view from outside must hold together: every shard has a member or is elsewhere, though not all
// are, slices cover [0, blocks), members and spares are ascending and apart, and a member has a
// shard or a slice unless shards are elsewhere.
Status validate(const View& view, std::uint32_t shards, std::uint64_t blocks);

// The view on the wire, and back. from_message() checks what can be checked without the job; follow
// it by validate().
wire::ViewMessage to_message(const View& view);
Result<View> from_message(const wire::ViewMessage& message);

}  // namespace instep::member
