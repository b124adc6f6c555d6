#include "round/relay.h"

#include <algorithm>

namespace instep::round {

using reduce::Node;
using reduce::Range;

namespace {

// Chunks that lie side by side in a row of the dealing, for each host: a slice of a tenth of the
// usual size still has some of every part.
constexpr std::uint64_t kColumnsAHost = 8;

}  // namespace

Relay::Relay(RelaySetup setup, World& world, Carrier& carrier)
    : setup_(std::move(setup)),
      world_(world),
      carrier_(carrier),
      tensors_(world.sums().tensors),
      packing_(tensors_, world.sums().coding.codec, world.sums().carried),
      due_(setup_.first_round) {
  const std::vector<Node>& targets = world_.sums().targets;
  const Dealing dealing{world_.sums().elements, setup_.chunk_elements,
                        kColumnsAHost * setup_.hosts.size()};
  for (const RelayHost& host : setup_.hosts) {
    if (host.id == setup_.me) mine_ = host;
  }
  my_pieces_ = pieces_of(mine_.slice, dealing);
  my_nodes_ = nodes_of(mine_.shards);
  std::vector<Node> inputs = my_nodes_;
  for (const RelayHost& host : setup_.hosts) {
    if (host.id == setup_.me) continue;
    Peer& peer = peers_.emplace_back();
    peer.host = host;
    peer.pieces = pieces_of(host.slice, dealing);
    peer.nodes = nodes_of(host.shards);
    peer.first_input = inputs.size();
    inputs.insert(inputs.end(), peer.nodes.begin(), peer.nodes.end());
    for (std::size_t node = 0; node < peer.nodes.size(); ++node) {
      peer.inbox.push_back(large_floats(mine_.slice.count));
    }
  }
  for (const Node& target : targets) targets_.emplace_back(target, inputs);
  there_.resize(inputs.size() * tensors_.size());
  rows_.resize(world_.sums().shards);
  const Sums& all = world_.sums();
  chunk_.resize(setup_.chunk_elements);
  if (all.coding.packs()) {
    coded_.emplace(all.shards, inputs, all.coding, true);
    for (auto& whole : wholes_) whole.resize(my_pieces_.size());
  }
  for (std::size_t node = 0; node < my_nodes_.size(); ++node) {
    sums_.push_back(large_floats(coded_ ? mine_.slice.count : all.elements));
  }
  // A chunk of each host's slice in turn, so that all links carry something from the beginning.
  std::vector<std::vector<Chunk>> chunks;
  std::size_t longest = 0;
  for (std::size_t k = 0; k <= peers_.size(); ++k) {
    chunks.push_back(chunks_of(k));
    longest = std::max(longest, chunks.back().size());
    if (k == peers_.size()) continue;
    Peer& peer = peers_[k];
    peer.taken.assign(peer.nodes.size(), std::vector<std::uint8_t>(my_pieces_.size()));
    peer.whole.assign(targets.size(), std::vector<std::uint8_t>(peer.pieces.size()));
    peer.whole_left = targets.size() * peer.pieces.size();
  }
  for (std::size_t i = 0; i < longest; ++i) {
    for (const auto& of : chunks) {
      if (i < of.size()) order_.push_back(of[i]);
    }
  }
  missing_.assign(my_pieces_.size(), inputs_of_a_chunk());
  pending_.resize(tensors_.size());
  if (coded_) packed_.resize(order_.size() * my_nodes_.size());
  behind_ = world_.whole(due_ - 1) == nullptr && setup_.donor && *setup_.donor != setup_.me;
  if (behind_) caught_.resize(targets.size());
}

void Relay::start() {
  if (!behind_) return;
  carrier_.send(*setup_.donor, {RelayFrame::Kind::kWant, 0, setup_.lineup, 0, due_ - 1, 0}, {});
}

// Of the peer with this place; behind them all, mine.
std::vector<Relay::Chunk> Relay::chunks_of(std::size_t host) const {
  std::vector<Chunk> out;
  for (const Piece& piece : host < peers_.size() ? peers_[host].pieces : my_pieces_) {
    Chunk& it = out.emplace_back();
    it.host = host;
    it.number = out.size() - 1;
    it.piece = piece;
    const auto place = [this](auto found) {
      return static_cast<std::size_t>(found - tensors_.begin());
    };
    it.tensor =
        place(std::partition_point(tensors_.begin(), tensors_.end(), [&it](const Range& tensor) {
          return tensor.end() <= it.piece.range.begin;
        }));
    it.tensors_end =
        place(std::partition_point(tensors_.begin(), tensors_.end(), [&it](const Range& tensor) {
          return tensor.begin < it.piece.range.end();
        }));
  }
  return out;
}

// The fewest canonical nodes that make up the shards and lie in the bounds.
std::vector<Node> Relay::nodes_of(const std::vector<std::uint32_t>& shards) const {
  std::vector<Node> out;
  for (const Node& bound : world_.sums().bounds()) {
    for (auto it = std::lower_bound(shards.begin(), shards.end(), bound.first);
         it != shards.end() && *it < bound.first + bound.count;) {
      const std::uint32_t first = *it;
      std::uint32_t end = first;
      while (it != shards.end() && *it == end && end < bound.first + bound.count) {
        ++it;
        ++end;
      }
      for (const Node& node : reduce::maximal_nodes(world_.sums().shards, first, end - first)) {
        out.push_back(node);
      }
    }
  }
  return out;
}

void Relay::add_up(reduce::NodeSum& adder, const Range& range, float* to, const Source& source) {
  std::uint64_t at = range.begin;
  auto tensor = static_cast<std::size_t>(
      std::partition_point(tensors_.begin(), tensors_.end(),
                           [&range](const Range& it) { return it.end() <= range.begin; }) -
      tensors_.begin());
  row_.resize(adder.from.size());
  for (; at < range.end(); ++tensor) {
    const bool any = tensor < tensors_.size();
    const std::uint64_t begin = any ? std::min(tensors_[tensor].begin, range.end()) : range.end();
    if (begin > at) std::fill(to + (at - range.begin), to + (begin - range.begin), 0.0F);
    at = std::max(at, begin);
    if (at >= range.end()) break;
    const std::uint64_t stop = std::min(tensors_[tensor].end(), range.end());
    for (std::size_t i = 0; i < row_.size(); ++i) {
      row_[i] = source(adder.from[i], tensor, at);
    }
    adder.sum.run(row_.data(), to + (at - range.begin), stop - at, 1.0F, false);
    at = stop;
  }
}

// Mine count as one.
std::uint32_t Relay::inputs_of_a_chunk() const {
  std::size_t out = 1;
  for (const Peer& it : peers_) out += it.nodes.size();
  return static_cast<std::uint32_t>(out);
}

void Relay::arrived(std::size_t number) {
  if (--missing_[number] == 0) ready_.push_back(number);
}

void Relay::combine_ready() {
  if (!under_way_ || !known_) return;
  for (const std::size_t number : std::exchange(ready_, {})) {
    coded_ ? combine_coded(number) : combine(my_pieces_[number]);
    missing_[number] = inputs_of_a_chunk();
    ++combined_;
  }
}

// In a piece of my slice; null if it has none of the tensor.
const float* Relay::input_at(std::size_t input, std::size_t tensor, std::uint64_t at,
                             const Piece& piece) const {
  if (there_[input * tensors_.size() + tensor] == 0) return nullptr;
  const std::uint64_t within = piece.within + (at - piece.range.begin);
  if (input < my_nodes_.size()) return sums_[input].get() + (coded_ ? within : at);
  const auto of = std::find_if(peers_.rbegin(), peers_.rend(), [input](const Peer& it) {
    return it.first_input <= input && !it.nodes.empty();
  });
  return of->inbox[input - of->first_input].get() + within;
}

void Relay::combine(const Piece& piece) {
  const Range& range = piece.range;
  const bool open = world_.open(due_, range);
  for (std::size_t target = 0; target < targets_.size(); ++target) {
    float* there = world_.sum(due_, target) + range.begin;
    float* to = open ? there : chunk_.data();
    add_up(targets_[target], range, to,
           [this, &piece](std::size_t input, std::size_t tensor, std::uint64_t at) {
             return input_at(input, tensor, at, piece);
           });
    if (!open) world_.put(due_, target, range, to);
    send_whole(target, range.begin, std::as_bytes(std::span(there, range.count)));
  }
  world_.arrived(due_, range);
}

void Relay::send_whole(std::size_t target, std::uint64_t at, std::span<const std::byte> bytes) {
  for (const Peer& it : peers_) {
    carrier_.send(
        it.host.id,
        {RelayFrame::Kind::kWhole, static_cast<std::uint32_t>(bytes.size()), setup_.lineup,
         static_cast<std::uint32_t>(target), due_, at, packing_.width(whole_form())},
        bytes);
  }
}

void Relay::finish_if_whole() {
  if (!under_way_ || !known_ || !read_all() || combined_ < my_pieces_.size()) return;
  if (std::any_of(peers_.begin(), peers_.end(), [](const Peer& it) { return it.whole_left > 0; })) {
    return;
  }
  world_.keep(heads());
  completed_ = due_++;
  under_way_ = open_ = false;
  close();
  for (Peer& it : peers_) {
    for (auto& of_target : it.whole) {
      std::fill(of_target.begin(), of_target.end(), 0);
      it.whole_left += of_target.size();
    }
    if (it.headed != due_) continue;
    // Checked when it came; it only waited for its turn.
    INSTEP_CHECK(use_head(it).ok(), "a head that was good stays good");
  }
}

// What members may know of the round before its sums are here.
void Relay::look_at_heads() {
  if (!under_way_ || known_) return;
  // One that is ahead has begun this round before.
  known_ = std::all_of(peers_.begin(), peers_.end(),
                       [this](const Peer& it) { return it.headed && *it.headed >= due_; });
  if (known_) world_.know(heads());
}

Whole Relay::heads() const {
  Whole out;
  out.round = due_;
  out.directive = directive_;
  out.rows = rows_;
  for (const reduce::NodeSum& target : targets_) {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      out.present.push_back(
          std::any_of(target.from.begin(), target.from.end(),
                      [&](std::size_t input) { return there_[input * tensors_.size() + t] != 0; }));
    }
  }
  return out;
}

std::optional<std::uint64_t> Relay::completed() { return std::exchange(completed_, {}); }

}  // namespace instep::round
