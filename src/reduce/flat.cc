#include "reduce/flat.h"

#include <algorithm>

#include "base/result.h"

namespace instep::reduce {
namespace {

std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

Range FlatSpace::add(std::uint64_t elements) {
  INSTEP_CHECK(open_, "a tensor belongs to a group");
  const Range place{round_up(top_, kAlignElements), elements};
  tensors_.push_back(place);
  top_ = place.end();
  return place;
}

void FlatSpace::begin_group() {
  finish();
  group_begin_ = top_;
  open_ = true;
}

void FlatSpace::finish() {
  if (!open_) return;
  top_ = round_up(top_, kBlockElements);
  groups_.push_back({group_begin_, top_ - group_begin_});
  open_ = false;
}

std::uint64_t FlatSpace::blocks() const { return round_up(top_, kBlockElements) / kBlockElements; }

std::vector<Range> cut_units(const FlatSpace& space, std::uint64_t first_block,
                             std::uint64_t blocks, std::uint64_t most) {
  const std::uint64_t begin = first_block * kBlockElements;
  const std::uint64_t end = begin + blocks * kBlockElements;
  std::vector<Range> units;
  for (const Range& group : space.groups()) {
    std::uint64_t at = std::max(begin, group.begin);
    const std::uint64_t stop = std::min(end, group.end());
    while (at < stop) {
      const std::uint64_t count = std::min(most, stop - at);
      units.push_back({at, count});
      at += count;
    }
  }
  return units;
}

std::vector<Piece> pieces_of(const FlatSpace& space, const std::vector<Range>& ranges) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < space.tensors().size(); ++i) {
    const Range& place = space.tensors()[i];
    for (const Range& range : ranges) {
      const std::uint64_t begin = std::max(range.begin, place.begin);
      const std::uint64_t end = std::min(range.end(), place.end());
      if (begin < end) pieces.push_back({i, begin - place.begin, begin, end - begin});
    }
  }
  return pieces;
}

}  // namespace instep::reduce
