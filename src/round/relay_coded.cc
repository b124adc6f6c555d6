// What a relay does otherwise with a codec that packs.
#include <algorithm>

#include "round/relay.h"

namespace instep::round {

using reduce::Codec;
using reduce::Range;

// How a node's sum travels to the host of a slice.
Relay::Form Relay::form_of(const reduce::Node& node) const {
  if (!coded_) return Form::kFlat;
  const auto& nodes = world_.sums().coding.nodes;
  const bool whole = std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  return whole ? Form::kEncoded : Form::kPlain;
}

void Relay::pack_sums(std::size_t place, std::size_t node) {
  const Range& range = order_[place].piece.range;
  const Form form = form_of(my_nodes_[node]);
  std::vector<std::byte>& to = packed_[place * my_nodes_.size() + node];
  to.resize(packing_.bytes(range, form));
  packing_.pack(range, form, chunk_.data(), to.data());
}

// A chunk of my slice, from sums that are encoded where they are a whole node's. What goes to all
// is what I unpack myself.
void Relay::combine_coded(std::size_t number) {
  const Piece& piece = my_pieces_[number];
  const Range& range = piece.range;
  std::uint64_t samples = 0;
  for (const ShardRow& row : rows_) samples += row.samples;
  const float factor = mean_factor(world_.sums().full_samples, samples);
  reduce::NodeSum& root = targets_.front();
  row_.resize(root.from.size());
  packing_.each_run(range, Form::kEncoded, [&](std::size_t tensor, const Range& run, Codec codec) {
    for (std::size_t i = 0; i < row_.size(); ++i) {
      row_[i] = input_at(root.from[i], tensor, run.begin, piece);
    }
    float* to = chunk_.data() + (run.begin - range.begin);
    if (codec == Codec::kNone) {
      root.sum.run(row_.data(), to, run.count, 1.0F, false);
    } else {
      coded_->run(row_.data(), to, run.count, factor, nullptr);
    }
  });
  std::vector<std::byte>& packed = wholes_[due_ & 1][number];
  packed.resize(packing_.bytes(range, Form::kEncoded));
  packing_.pack(range, Form::kEncoded, chunk_.data(), packed.data());
  unpack_whole(range, packed.data());
  send_whole(0, range.begin, packed);
  world_.arrived(due_, range);
}

void Relay::unpack_whole(const Range& chunk, const std::byte* packed) {
  if (world_.open(due_, chunk)) {
    return packing_.unpack(chunk, Form::kEncoded, packed, world_.sum(due_, 0) + chunk.begin);
  }
  packing_.unpack(chunk, Form::kEncoded, packed, chunk_.data());
  world_.put(due_, 0, chunk, chunk_.data());
}

}  // namespace instep::round
