#include "round/dealt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace instep::round {
namespace {

using reduce::Range;

std::vector<Range> cut_at_random(std::uint64_t blocks, std::size_t slices, Random& random) {
  std::vector<std::uint64_t> cuts{0, blocks};
  while (cuts.size() <= slices) cuts.push_back(random.below(blocks + 1));
  std::sort(cuts.begin(), cuts.end());
  std::vector<Range> out;
  for (std::size_t k = 0; k < slices; ++k) {
    out.push_back(
        {cuts[k] * reduce::kBlockElements, (cuts[k + 1] - cuts[k]) * reduce::kBlockElements});
  }
  return out;
}

TEST(Dealt, SlicesOfAnySizeHaveEveryBlockOnce) {
  Random random(7);
  for (int i = 0; i < 500; ++i) {
    const std::uint64_t blocks = 1 + random.below(300);
    const Dealing dealing{blocks * reduce::kBlockElements,
                          (1 + random.below(9)) * reduce::kBlockElements, 1 + random.below(40)};
    std::vector<int> seen(blocks);
    for (const Range& slice : cut_at_random(blocks, 1 + random.below(8), random)) {
      std::vector<int> inside(slice.count / reduce::kBlockElements);
      std::uint64_t end = 0;
      for (const Piece& it : pieces_of(slice, dealing)) {
        ASSERT_GE(it.range.begin, end) << "in the order of the flat space";
        end = it.range.end();
        ASSERT_LE(it.range.count, dealing.chunk);
        ASSERT_EQ(it.range.begin % reduce::kBlockElements, 0U);
        for (std::uint64_t at = 0; at < it.range.count; at += reduce::kBlockElements) {
          ++seen[(it.range.begin + at) / reduce::kBlockElements];
          ++inside[(it.within + at) / reduce::kBlockElements];
        }
      }
      ASSERT_EQ(std::count(inside.begin(), inside.end(), 1), static_cast<long>(inside.size()));
    }
    ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<long>(blocks));
  }
}

TEST(Dealt, EverySliceHasItsShareOfEveryPart) {
  constexpr std::uint64_t kChunks = 384, kChunk = 64 * reduce::kBlockElements;
  const Dealing dealing{kChunks * kChunk, kChunk, 24};
  // A thin one, and two that share the rest.
  const std::vector<std::uint64_t> share{32, 176, 176};
  std::uint64_t first = 0;
  for (const std::uint64_t chunks : share) {
    std::vector<std::uint64_t> quarters(4);
    for (const Piece& it : pieces_of({first * kChunk, chunks * kChunk}, dealing)) {
      ++quarters[it.range.begin / (kChunks / 4 * kChunk)];
    }
    for (const std::uint64_t quarter : quarters) EXPECT_EQ(quarter, chunks / 4);
    first += chunks;
  }
}

TEST(Dealt, APieceIsFoundByItsBeginningAlone) {
  const Dealing dealing{10 * reduce::kBlockElements, 2 * reduce::kBlockElements, 3};
  // The second half of chunk 3, then chunks 1 and 4.
  const std::vector<Piece> pieces =
      pieces_of({3 * reduce::kBlockElements, 5 * reduce::kBlockElements}, dealing);
  ASSERT_EQ(pieces.size(), 3U);
  for (const Piece& it : pieces) EXPECT_EQ(piece_at(pieces, it.range.begin), &it);
  EXPECT_EQ(piece_at(pieces, pieces[0].range.begin + 1), nullptr);
  EXPECT_EQ(piece_at(pieces, 0), nullptr);
  EXPECT_EQ(piece_at(pieces, 100 * reduce::kBlockElements), nullptr);
}

}  // namespace
}  // namespace instep::round
