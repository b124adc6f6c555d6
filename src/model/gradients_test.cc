#include "model/gradients.h"

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "model/arena_allocator.h"

namespace instep::model {
namespace {

constexpr std::uint64_t kAbsent = fabric::Arena::kAbsent, kPending = fabric::Arena::kPending;

// For the life of the process, as install_arena wants it: with room for the tensors of whatever
// tests come after these in one process.
const fabric::Arena& arena() {
  constexpr std::size_t kBytes = 256 << 20;
  static auto* memory = static_cast<std::byte*>(std::aligned_alloc(4096, kBytes));
  static fabric::Arena made({memory, kBytes});
  static const bool kInstalled = (install_arena(made), true);
  (void)kInstalled;
  return made;
}

// Two layers, and a weight that takes no part.
class GradientsTest : public ::testing::Test {
 protected:
  GradientsTest() {
    const auto weight = [] { return at::ones({4, 4}).requires_grad_(); };
    const fabric::Arena& memory = arena();
    weights_ = {weight(), weight(), weight()};
    gradients_.emplace(weights_, false, memory);
  }
  void compute_shard() {
    gradients_->begin_shard(1);
    at::ones({1, 4}).mm(weights_[0]).mm(weights_[1]).sum().backward();
    gradients_->end_shard();
  }

  std::vector<at::Tensor> weights_;
  std::optional<Gradients> gradients_;
};

TEST_F(GradientsTest, SaysOfTheLastShardWhatStandsAsItIsComputed) {
  gradients_->assign(4, {0, 1, 2}, {});
  ASSERT_EQ(gradients_->nodes().size(), 2U);
  gradients_->begin_round();
  compute_shard();
  compute_shard();
  using Settled = std::pair<std::size_t, std::uint64_t>;
  std::vector<Settled> settled;
  const std::vector<std::uint64_t> opened = gradients_->open(
      [&settled](std::size_t index, std::uint64_t offset) { settled.emplace_back(index, offset); });
  compute_shard();
  const std::vector<std::uint64_t> due = gradients_->offsets();
  EXPECT_EQ(opened,
            (std::vector<std::uint64_t>{due[0], due[1], kAbsent, kPending, kPending, kPending}));
  // The second layer's first, as the backward pass goes.
  EXPECT_EQ(settled, (std::vector<Settled>{{4, due[4]}, {3, due[3]}, {5, kAbsent}}));
  settled.clear();
  gradients_->extend({3});
  compute_shard();
  EXPECT_TRUE(settled.empty());
}

TEST_F(GradientsTest, SaysOfASumWhenItsLastShardIsIn) {
  gradients_->assign(2, {0, 1}, {});
  gradients_->begin_round();
  compute_shard();
  std::size_t settled = 0;
  const auto& opened = gradients_->open([&](std::size_t index, std::uint64_t offset) {
    ++settled;
    if (index > 0) return;
    // A shard's gradient is 1 times 4 ones; there are two of them.
    EXPECT_EQ(*reinterpret_cast<const float*>(arena().memory().data() + offset), 8);
  });
  EXPECT_EQ(opened, std::vector<std::uint64_t>(3, kPending));
  compute_shard();
  EXPECT_EQ(settled, 3U);
}

}  // namespace
}  // namespace instep::model
