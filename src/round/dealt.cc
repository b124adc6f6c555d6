#include "round/dealt.h"

#include <algorithm>

namespace instep::round {

using reduce::Range;

namespace {

// Which of `count` chunks has this place when they are taken column by column.
std::uint64_t taken_at(std::uint64_t place, std::uint64_t count, std::uint64_t columns) {
  const std::uint64_t rows = count / columns, longer = count % columns;
  const std::uint64_t in_longer = longer * (rows + 1);
  if (place < in_longer) return place % (rows + 1) * columns + place / (rows + 1);
  const std::uint64_t rest = place - in_longer;
  return rest % rows * columns + longer + rest / rows;
}

}  // namespace

std::vector<Piece> pieces_of(const Range& slice, const Dealing& dealing) {
  const std::uint64_t whole = dealing.elements / dealing.chunk;
  std::vector<Piece> out;
  for (std::uint64_t at = slice.begin; at < slice.end();) {
    const std::uint64_t place = at / dealing.chunk, offset = at % dealing.chunk;
    const std::uint64_t count = std::min(dealing.chunk - offset, slice.end() - at);
    const std::uint64_t chunk = place < whole ? taken_at(place, whole, dealing.columns) : place;
    out.push_back({{chunk * dealing.chunk + offset, count}, at - slice.begin});
    at += count;
  }
  std::sort(out.begin(), out.end(),
            [](const Piece& a, const Piece& b) { return a.range.begin < b.range.begin; });
  return out;
}

const Piece* piece_at(std::span<const Piece> pieces, std::uint64_t begin) {
  const auto found = std::partition_point(
      pieces.begin(), pieces.end(), [begin](const Piece& it) { return it.range.begin < begin; });
  return found == pieces.end() || found->range.begin != begin ? nullptr : &*found;
}

}  // namespace instep::round
