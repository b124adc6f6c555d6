// What a death in the midst of an update leaves, and what is put back.
#include "round/undo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/random.h"
#include "reduce/kernels.h"

namespace instep::round {
namespace {

using reduce::kBlockElements;
using reduce::Range;

constexpr std::uint64_t kBlocks = 6;
constexpr std::uint64_t kElements = kBlocks * kBlockElements;

class UndoTest : public testing::Test {
 protected:
  UndoTest() {
    for (std::uint64_t i = 0; i < kElements; ++i) {
      first()[i] = static_cast<float>(i);
      second()[i] = static_cast<float>(2 * i);
    }
    set_stamps(stamps(), {0, kElements}, 6);
    before_ = state_;
    slot_ = std::make_unique<UndoSlot>(arena_, *words_, state_.data(),
                                       std::vector<const float*>{first(), second()}, stamps(),
                                       2 * kBlockElements);
  }
  float* first() { return reinterpret_cast<float*>(state_.data()); }
  float* second() { return first() + kElements; }
  Stamp* stamps() { return reinterpret_cast<Stamp*>(second() + kElements); }
  void spoil(const Range& unit) {
    std::fill_n(first() + unit.begin, unit.count, -1.0F);
    std::fill_n(second() + unit.begin, unit.count, -2.0F);
  }
  Status put_back() { return undo(*words_, memory_, state_); }

  std::vector<std::byte> memory_ = std::vector<std::byte>(8 << 20);
  fabric::Arena arena_{memory_};
  std::unique_ptr<fabric::AgentWords> words_ = std::make_unique<fabric::AgentWords>();
  std::vector<std::byte> state_ =
      std::vector<std::byte>(2 * kElements * sizeof(float) + kBlocks * sizeof(Stamp));
  std::vector<std::byte> before_;
  void* reserved_ = arena_.take(1);
  std::unique_ptr<UndoSlot> slot_;
  std::array<std::uint64_t, 2> checks_{};
};

TEST_F(UndoTest, SumsWhatItSavesByBlock) {
  const Range unit{kBlockElements, 2 * kBlockElements};
  slot_->save(unit, 7, checks_);
  for (std::uint64_t block = 0; block < 2; ++block) {
    const std::uint64_t at = unit.begin + block * kBlockElements;
    const std::uint64_t expected =
        check_weight(0) * reduce::sum_of_bits(first() + at, kBlockElements) +
        check_weight(1) * reduce::sum_of_bits(second() + at, kBlockElements);
    EXPECT_EQ(checks_[block], expected) << block;
  }
}

TEST_F(UndoTest, PutsBackAUnitThatWasNotStamped) {
  slot_->save({kBlockElements, 2 * kBlockElements}, 7, checks_);
  spoil({kBlockElements, kBlockElements / 2});
  ASSERT_TRUE(put_back().ok());
  EXPECT_EQ(state_, before_);
}

TEST_F(UndoTest, LeavesWhatWasStamped) {
  const Range unit{kBlockElements, 2 * kBlockElements};
  slot_->save(unit, 7, checks_);
  spoil(unit);
  set_stamps(stamps(), {kBlockElements, kBlockElements}, 7);  // one of its two blocks
  ASSERT_TRUE(put_back().ok());
  EXPECT_EQ(first()[kBlockElements], -1.0F);
  EXPECT_EQ(first()[2 * kBlockElements], static_cast<float>(2 * kBlockElements));
  EXPECT_EQ(second()[3 * kBlockElements - 1], static_cast<float>(2 * (3 * kBlockElements - 1)));
}

// An agent that had let go of a block and died much later: others have stepped it since.
TEST_F(UndoTest, ABlockThatHasGoneOnIsLeftAlone) {
  const Range unit{0, kBlockElements};
  slot_->save(unit, 7, checks_);
  spoil(unit);
  set_stamps(stamps(), unit, 7);
  set_stamps(stamps(), unit, 8);
  const std::vector<std::byte> now = state_;
  ASSERT_TRUE(put_back().ok());
  EXPECT_EQ(state_, now);
}

TEST_F(UndoTest, AnotherUnitMayBeHalfSaved) {
  slot_->save({0, kBlockElements}, 7, checks_);
  spoil({0, kBlockElements});
  set_stamps(stamps(), {0, kBlockElements}, 7);
  const std::vector<std::byte> now = state_;
  // It died while it copied the next unit: the slot holds anything, the word names the first.
  std::fill(memory_.begin() + static_cast<std::ptrdiff_t>(words_->undo_at.load()) + 200,
            memory_.end(), std::byte{0x55});
  ASSERT_TRUE(put_back().ok());
  EXPECT_EQ(state_, now);
}

TEST_F(UndoTest, NothingSavedIsNothingPutBack) {
  spoil({0, kBlockElements});
  const std::vector<std::byte> now = state_;
  ASSERT_TRUE(put_back().ok());
  EXPECT_EQ(state_, now);
}

TEST_F(UndoTest, WordsAndMemoryThatHoldAnythingWriteNothingOutside) {
  slot_->save({0, kBlockElements}, 7, checks_);
  Random random(5);
  const std::uint64_t at = words_->undo_at.load();
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> memory = memory_;
    memory.resize(at + random.below(4096));
    for (int k = 0; k < 4; ++k) {
      const std::uint64_t place = at + random.below(80);
      if (place < memory.size()) memory[place] = static_cast<std::byte>(random.below(256));
    }
    words_->undo_open.store(random.below(3) == 0 ? random.below(~0ULL) : words_->undo_open.load());
    words_->undo_at.store(random.below(4) == 0 ? random.below(memory.size() + 99) : at);
    std::vector<std::byte> state = state_;
    state.resize(random.below(state_.size()));
    (void)undo(*words_, memory, state);  // under the sanitizers: no access out of bounds
  }
}

TEST(Unstamped, GivesTheRunsThatAreLeft) {
  std::vector<Stamp> stamps(8);
  set_stamps(stamps.data(), {2 * kBlockElements, kBlockElements}, 3);
  set_stamps(stamps.data(), {6 * kBlockElements, 2 * kBlockElements}, 3);
  const std::vector<Range> units = {{0, 4 * kBlockElements},
                                    {4 * kBlockElements, 4 * kBlockElements}};
  EXPECT_EQ(unstamped(units, stamps.data(), 3),
            (std::vector<Range>{{0, 2 * kBlockElements},
                                {3 * kBlockElements, kBlockElements},
                                {4 * kBlockElements, 2 * kBlockElements}}));
  EXPECT_EQ(unstamped(units, stamps.data(), 4), units);
}

}  // namespace
}  // namespace instep::round
