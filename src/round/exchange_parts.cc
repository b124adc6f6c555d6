// What an exchange is made of: everybody's part, or the world's, held against the view before
// anything of it is used.
#include <algorithm>

#include "base/text.h"
#include "round/exchange.h"

namespace instep::round {

using member::AgentId;
using reduce::Node;

namespace {

Error corrupt(std::string message) { return {ErrorKind::kCorrupt, std::move(message)}; }

bool canonical(std::uint32_t shards, const Node& node) {
  if (node.count == 0 || node.first >= shards || node.count > shards - node.first) return false;
  const std::vector<Node> cover = reduce::maximal_nodes(shards, node.first, node.count);
  return cover.size() == 1 && cover.front() == node;
}

}  // namespace

std::span<const std::byte> Exchange::arena(AgentId agent) const {
  return agent == kWorldId ? setup_.world : setup_.arenas[static_cast<std::size_t>(agent)];
}

bool Exchange::has(std::size_t place, std::uint32_t shard) const {
  return setup_.hosted || setup_.view.shard_agent[shard] == givers_[place];
}

Exchange::Step Exchange::take_parts() {
  sources_.clear();
  const std::vector<AgentId>& from = gather_ ? parties_ : givers_;
  for (std::size_t place = 0; place < from.size(); ++place) {
    const AgentId agent = from[place];
    Status status;
    auto part = find_part(words(agent), arena(agent), posted_.ticket);
    if (!part.ok()) {
      status = part.error();
    } else if (!*part) {
      return Step::kStale;  // it goes on under a later view
    } else if ((*part)->round != posted_.round) {
      status = corrupt(cat("a part is of round ", (*part)->round, " and not of ", posted_.round));
    } else if (gather_) {
      gathered_.push_back((*part)->bytes);
    } else {
      status = take_part(place, **part);
    }
    if (!status.ok()) {
      const std::string who = agent == kWorldId ? "the other hosts" : cat("agent ", agent);
      error_ = {status.error().kind, cat(who, ": ", status.error().message)};
      return Step::kFailed;
    }
  }
  if (gather_) {
    phase_ = Phase::kDone;
    return Step::kDone;
  }
  if (recut_) {
    recut_ = false;
    nodes_.clear();
    for (const auto& of : due_) nodes_.insert(nodes_.end(), of.begin(), of.end());
    combiner_ = reduce::Combiner(setup_.shards, nodes_);
    row_.resize(nodes_.size());
    if (setup_.coding.codec != reduce::Codec::kNone && !final_) {
      coded_.emplace(setup_.shards, nodes_, setup_.coding);
    }
  }
  weigh();
  if (const Status status = find_stamps(); !status.ok()) {
    error_ = status.error();
    return Step::kFailed;
  }
  return Step::kAgain;
}

Status Exchange::find_stamps() {
  if (!setup_.hosted) return {};
  std::uint64_t blocks = 0;
  for (const member::Slice& slice : setup_.view.slices) blocks += slice.blocks;
  const std::uint64_t at = words(kWorldId).arrived.load(std::memory_order_acquire);
  const std::uint64_t room = at > setup_.world.size() ? 0 : setup_.world.size() - at;
  if (at % alignof(Stamp) != 0 || room / sizeof(Stamp) / 2 < blocks) {
    return corrupt("the other hosts: what has come lies outside its memory");
  }
  stamps_ = reinterpret_cast<const Stamp*>(setup_.world.data() + at) + (posted_.round & 1) * blocks;
  return {};
}

// The nodes of a part cover its shards, each once. How they are cut is its giver's business: a
// member that took over a shard in mid-round has not added it to what it had.
Status Exchange::take_nodes(std::size_t place, std::span<const Node> nodes) {
  std::vector<Node>& due = due_[place];
  const bool known = due.empty() == (held_[place] == 0);
  if (known && std::equal(nodes.begin(), nodes.end(), due.begin(), due.end())) return {};
  std::vector<bool> seen(setup_.shards);
  std::size_t covered = 0;
  for (const Node& node : nodes) {
    const bool fits =
        final_ ? node.count == setup_.shards : reduce::in_bounds(setup_.coding.nodes, node);
    if (!canonical(setup_.shards, node) || !fits) {
      return corrupt("a part has a sum that is none of the tree");
    }
    for (std::uint32_t shard = node.first; shard < node.first + node.count; ++shard) {
      if (!has(place, shard)) return corrupt("a part has a sum of shards that are not its");
      if (seen[shard]) return corrupt(cat("a part has shard ", shard, " in two sums"));
      seen[shard] = true;
      ++covered;
    }
  }
  if (covered != held_[place]) {
    return corrupt(cat("a part has sums of ", covered, " shards and not of ", held_[place]));
  }
  due.assign(nodes.begin(), nodes.end());
  recut_ = true;
  return {};
}

Status Exchange::take_rows(std::size_t place, std::span<const ShardRow> rows) {
  for (const ShardRow& row : rows) {
    if (row.shard >= setup_.shards || !has(place, row.shard)) {
      return corrupt(cat("a part has a row of shard ", row.shard, ", which is not its"));
    }
    ShardRow& to = outcome_.rows[row.shard];
    if (to.shard == row.shard) return corrupt(cat("a part has two rows of shard ", row.shard));
    to = row;
  }
  if (rows.size() != held_[place]) {
    return corrupt(cat("a part has rows of ", rows.size(), " shards and not of ", held_[place]));
  }
  return {};
}

Status Exchange::take_part(std::size_t place, const Part& part) {
  INSTEP_RETURN_IF_ERROR(take_nodes(place, part.nodes));
  INSTEP_RETURN_IF_ERROR(add_sources(part, arena(givers_[place]), setup_.tensors, sources_));
  INSTEP_RETURN_IF_ERROR(take_rows(place, part.rows));
  if (place == 0) outcome_.directive = part.directive;  // the lead's
  return {};
}

}  // namespace instep::round
