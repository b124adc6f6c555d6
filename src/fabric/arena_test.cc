#include "fabric/arena.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/random.h"

namespace instep::fabric {
namespace {

class ArenaTest : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 64 << 20;
  std::unique_ptr<std::byte, void (*)(void*)> memory_{
      static_cast<std::byte*>(std::aligned_alloc(4096, kBytes)), std::free};
  Arena arena_{{memory_.get(), kBytes}};
};

// Blocks never overlap, keep what is written to them and lie on 64 bytes, whatever the order.
TEST_F(ArenaTest, BlocksAreDisjointAlignedAndKeepTheirContent) {
  struct Block {
    unsigned char* at;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<Block> held;
  Random random(1);
  for (int i = 0; i < 30000; ++i) {
    if (!held.empty() && (held.size() > 150 || random.below(2) == 0)) {
      const std::size_t pick = random.below(held.size());
      const Block block = held[pick];
      for (const std::size_t at : {std::size_t{0}, block.bytes / 2, block.bytes - 1}) {
        ASSERT_EQ(block.at[at], block.mark);
      }
      arena_.give_back(block.at);
      held[pick] = held.back();
      held.pop_back();
      continue;
    }
    const std::size_t bytes = 1 + random.below(1ULL << (1 + random.below(20)));
    auto* at = static_cast<unsigned char*>(arena_.take(bytes));
    ASSERT_NE(at, nullptr);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(at) % 64, 0U);
    const auto mark = static_cast<unsigned char>(i);
    std::memset(at, mark, bytes);
    held.push_back({at, bytes, mark});
  }
}

TEST_F(ArenaTest, ASteadyStateTakesNoNewMemory) {
  const std::size_t sizes[] = {40, 1000, 70000, 300000, 5 << 20, 64};
  std::uint64_t after_first = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<void*> blocks;
    for (const std::size_t size : sizes) blocks.push_back(arena_.take(size));
    for (void* block : blocks) arena_.give_back(block);
    if (round == 0) after_first = arena_.high_water();
  }
  EXPECT_EQ(arena_.high_water(), after_first);
}

TEST_F(ArenaTest, JoinsNeighboursSoThatFreedSpaceServesLargerBlocks) {
  std::vector<void*> blocks;
  for (void* block = arena_.take(4 << 20); block != nullptr; block = arena_.take(4 << 20)) {
    blocks.push_back(block);
  }
  EXPECT_EQ(blocks.size(), 16U);
  for (void* block : blocks) arena_.give_back(block);
  EXPECT_NE(arena_.take(60 << 20), nullptr);
}

TEST_F(ArenaTest, ReturnsNullWhenFull) {
  EXPECT_EQ(arena_.take(kBytes + 1), nullptr);
  void* most = arena_.take(kBytes);
  EXPECT_NE(most, nullptr);
  EXPECT_EQ(arena_.take(1), nullptr);
  arena_.give_back(most);
  EXPECT_NE(arena_.take(1), nullptr);
}

}  // namespace
}  // namespace instep::fabric
