// The flat space: all parameters one after the other, cut into blocks of a fixed number of
// elements. Every tensor starts on 64 bytes; a group of parameters with settings of its own starts
// on a block, so that no block has two settings and a cut between blocks changes no bit.
#pragma once

#include <cstdint>
#include <vector>

namespace instep::reduce {

inline constexpr std::uint64_t kBlockElements = 1024;  // one page of fp32
inline constexpr std::uint64_t kAlignElements = 16;    // 64 bytes
inline constexpr std::uint64_t kBlockBytes = kBlockElements * sizeof(float);

// A run of flat elements: a tensor's place, a slice, a unit of work.
struct Range {
  std::uint64_t begin = 0, count = 0;
  std::uint64_t end() const { return begin + count; }
  bool operator==(const Range&) const = default;
};

class FlatSpace {
 public:
  // The next tensor's place. A new group is moved to the next block.
  Range add(std::uint64_t elements);
  void begin_group();

  const std::vector<Range>& tensors() const { return tensors_; }
  const std::vector<Range>& groups() const { return groups_; }  // whole blocks each
  std::uint64_t blocks() const;
  std::uint64_t elements() const { return blocks() * kBlockElements; }
  void finish();  // closes the last group

 private:
  std::vector<Range> tensors_, groups_;
  std::uint64_t top_ = 0, group_begin_ = 0;
  bool open_ = false;
};

// Cuts the blocks [first, first + count) into units of at most `most` elements that do not cross a
// group. Where the cuts fall changes no bit.
std::vector<Range> cut_units(const FlatSpace& space, std::uint64_t first_block,
                             std::uint64_t blocks, std::uint64_t most);

// What a range has of a tensor.
struct Piece {
  std::size_t tensor = 0;    // its number in space.tensors()
  std::uint64_t within = 0;  // its first element there
  std::uint64_t at = 0;      // and in the flat space
  std::uint64_t count = 0;
  bool operator==(const Piece&) const = default;
};

// What `ranges` (disjoint) have of each tensor, by tensor; padding belongs to none.
std::vector<Piece> pieces_of(const FlatSpace& space, const std::vector<Range>& ranges);

}  // namespace instep::reduce
