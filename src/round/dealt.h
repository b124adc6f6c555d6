// Which pieces of the flat space a slice between hosts is made of. Chunks are dealt, so that every
// host's slice has some of every part of the model: gradients come from the last layers to the
// first, and whoever added up the first ones alone would have an idle line until the backward pass
// ends, and all others would wait for it in the end.
//
// A slice is a range of the dealt order: chunks are laid out in rows of `columns` and taken column
// by column. What is left behind the last whole chunk stays last. Pure; every host of a line-up
// reckons the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "reduce/flat.h"

namespace instep::round {

struct Piece {
  reduce::Range range;       // of the flat space
  std::uint64_t within = 0;  // where it lies in the slice
};

struct Dealing {
  std::uint64_t elements = 0;  // of the flat space
  std::uint64_t chunk = 0;     // elements of a chunk
  std::uint64_t columns = 1;   // a few for each host: a small slice is spread, too
};

// A slice's pieces, a chunk at most each, in the order of the flat space.
std::vector<Piece> pieces_of(const reduce::Range& slice, const Dealing& dealing);

// The one that begins there; null if none does.
const Piece* piece_at(std::span<const Piece> pieces, std::uint64_t begin);

}  // namespace instep::round
