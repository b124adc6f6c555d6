// What a relay does with the parts of its own host's members.
#include <algorithm>

#include "round/relay.h"
#include "round/relay_rows.h"

namespace instep::round {

using reduce::Node;
using reduce::Range;

Status Relay::open(std::uint64_t round, std::vector<LocalPart> parts) {
  INSTEP_CHECK(round == due_ && !behind_ && !under_way_, "the round that is due is opened");
  const auto broken = [](const char* what) { return Error{ErrorKind::kCorrupt, what}; };
  const std::size_t tensors = tensors_.size();
  close();
  std::vector<Node> nodes;
  std::vector<std::uint8_t> seen(rows_.size());
  for (const std::uint32_t shard : mine_.shards) seen[shard] = 1;
  for (const LocalPart& part : parts) {
    const std::size_t sums = part.nodes.size() * tensors;
    if (part.sources.size() != sums || (!part.pending.empty() && part.pending.size() != sums)) {
      return broken("a member's part has other tensors than the model");
    }
    for (const Node& node : part.nodes) {
      if (!reduce::in_bounds(world_.sums().bounds(), node)) {
        return broken("a member's part has a sum that is none of the tree");
      }
      for (std::uint32_t shard = node.first; shard < node.first + node.count; ++shard) {
        if (shard >= seen.size() || !std::exchange(seen[shard], std::uint8_t{0})) {
          return broken("a member's part has sums of shards that are not this host's");
        }
      }
    }
    nodes.insert(nodes.end(), part.nodes.begin(), part.nodes.end());
  }
  if (std::any_of(seen.begin(), seen.end(), [](std::uint8_t it) { return it != 0; })) {
    return broken("the members' parts have not all of the host's shards");
  }
  if (!std::exchange(open_, true)) {
    for (Chunk& chunk : order_) chunk.collected = false;
    cursor_ = collected_ = combined_ = 0;
  }
  std::fill(pending_.begin(), pending_.end(), 0);
  for (const LocalPart& part : parts) {
    locals_.insert(locals_.end(), part.sources.begin(), part.sources.end());
    for (std::size_t i = 0; i < part.pending.size(); ++i) {
      pending_[i % tensors] += part.pending[i] == 0 ? 0 : 1;
    }
  }
  for (const Node& node : my_nodes_) collects_.emplace_back(node, nodes);
  parts_ = std::move(parts);
  return {};
}

void Relay::close() {
  if (under_way_) return;
  parts_.clear();
  locals_.clear();
  collects_.clear();
  std::fill(pending_.begin(), pending_.end(), 1);
}

Status Relay::begin(std::uint64_t round, std::vector<LocalPart> parts, std::uint64_t check) {
  const auto broken = [](const char* what) { return Error{ErrorKind::kCorrupt, what}; };
  INSTEP_RETURN_IF_ERROR(open(round, std::move(parts)));
  if (std::any_of(pending_.begin(), pending_.end(), [](std::uint32_t it) { return it > 0; })) {
    return broken("a member's part is not whole");
  }
  std::vector<std::uint8_t> told(rows_.size());
  for (const std::uint32_t shard : mine_.shards) told[shard] = 1;
  for (const LocalPart& part : parts_) {
    for (const ShardRow& row : part.rows) {
      if (row.shard >= told.size() || !std::exchange(told[row.shard], std::uint8_t{0})) {
        return broken("a member's part has rows of shards that are not this host's");
      }
      rows_[row.shard] = row;
    }
  }
  if (std::any_of(told.begin(), told.end(), [](std::uint8_t it) { return it != 0; })) {
    return broken("the members' parts have not all of the host's shards");
  }
  for (std::size_t k = 0; k < my_nodes_.size(); ++k) {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const auto& inputs = collects_[k].from;
      there_[k * tensors_.size() + t] = std::any_of(
          inputs.begin(), inputs.end(),
          [&](std::size_t input) { return locals_[input * tensors_.size() + t] != nullptr; });
    }
  }
  check_ = check;
  under_way_ = true;
  known_ = false;
  send_head();
  for (Peer& it : peers_) {
    if (it.headed == due_) INSTEP_RETURN_IF_ERROR(compare(it));
  }
  look_at_heads();
  combine_ready();
  finish_if_whole();
  return {};
}

void Relay::send_head() {
  std::vector<ShardRow> rows;
  for (const std::uint32_t shard : mine_.shards) rows.push_back(rows_[shard]);
  const Directive mine = parts_.empty() ? Directive::kNone : parts_.front().directive;
  if (setup_.hosts.front().id == setup_.me) directive_ = mine;
  std::vector<std::byte>& head = head_[due_ & 1];
  head =
      write_rows(check_, mine, rows, std::span(there_).first(my_nodes_.size() * tensors_.size()));
  for (const Peer& it : peers_) {
    carrier_.send(it.host.id,
                  {RelayFrame::Kind::kHead, static_cast<std::uint32_t>(head.size()), setup_.lineup,
                   0, due_, 0},
                  head);
  }
}

bool Relay::collectable(const Chunk& chunk) const {
  const auto first = pending_.begin();
  return !chunk.collected && std::all_of(first + static_cast<std::ptrdiff_t>(chunk.tensor),
                                         first + static_cast<std::ptrdiff_t>(chunk.tensors_end),
                                         [](std::uint32_t pending) { return pending == 0; });
}

bool Relay::step() {
  if (collects_.empty() && !my_nodes_.empty()) return false;
  if (read_all()) return false;
  while (order_[cursor_].collected) ++cursor_;
  const auto next =
      std::find_if(order_.begin() + static_cast<std::ptrdiff_t>(cursor_), order_.end(),
                   [this](const Chunk& chunk) { return collectable(chunk); });
  if (next == order_.end()) return false;
  collect(static_cast<std::size_t>(next - order_.begin()));
  combine_ready();
  finish_if_whole();
  return true;
}

void Relay::collect(std::size_t place) {
  Chunk& chunk = order_[place];
  chunk.collected = true;
  ++collected_;
  const Range& range = chunk.piece.range;
  const bool own = chunk.host == peers_.size();
  for (std::size_t k = 0; k < my_nodes_.size(); ++k) {
    float* to = !coded_ ? sums_[k].get() + range.begin
                : own   ? sums_[k].get() + chunk.piece.within
                        : chunk_.data();
    add_up(collects_[k], range, to,
           [this](std::size_t input, std::size_t tensor, std::uint64_t at) -> const float* {
             const float* source = locals_[input * tensors_.size() + tensor];
             return source == nullptr ? nullptr : source + (at - tensors_[tensor].begin);
           });
    if (own) {
      if (form_of(my_nodes_[k]) == Form::kEncoded) packing_.encode(range, to);
      continue;
    }
    if (coded_) pack_sums(place, k);
    const auto bytes = coded_ ? std::span<const std::byte>(packed_[place * my_nodes_.size() + k])
                              : std::as_bytes(std::span(to, range.count));
    carrier_.send(
        peers_[chunk.host].host.id,
        {RelayFrame::Kind::kSums, static_cast<std::uint32_t>(bytes.size()), setup_.lineup,
         static_cast<std::uint32_t>(k), due_, range.begin, packing_.width(form_of(my_nodes_[k]))},
        bytes);
  }
  if (own) arrived(chunk.number);
}

}  // namespace instep::round
