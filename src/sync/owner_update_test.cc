#include "sync/owner_update.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>

#include "base/random.h"
#include "sync/schedule.h"

namespace instep::sync {
namespace {

using reduce::kBlockElements;
using reduce::Range;

constexpr std::uint64_t kBlocks = 40;
constexpr std::uint64_t kElements = kBlocks * kBlockElements;

class OwnerUpdateTest : public testing::Test {
 protected:
  OwnerUpdateTest() {
    space_.begin_group();
    space_.add(7 * kBlockElements - 5);
    space_.begin_group();
    space_.add(kElements - 7 * kBlockElements);
    space_.finish();
  }

  // Five updates of the whole space cut into units of `most` elements; the parameters afterwards.
  std::vector<float> run(torch::optim::Optimizer& optimizer, std::uint64_t most, float factor = 1) {
    const Rule rule = rule_of(optimizer);
    auto files = fabric::make_host_files(1);
    auto memory =
        StateMemory::map(files->state, kBlocks, moments(rule, read_settings(optimizer, rule)));
    EXPECT_TRUE(memory.ok());
    EXPECT_TRUE(memory->own({{0, kBlocks, 0}}, 0).ok());
    fill(memory->parameters(0), 1);
    auto map = fabric::Mapping::map(files->arenas[0], true);
    EXPECT_TRUE(map.ok());
    fabric::Arena arena(std::span(map->data(), map->size()));
    const auto words = std::make_unique<fabric::AgentWords>();
    round::UndoSlot undo(arena, *words, memory->data(), memory->stepped(), memory->stamps(),
                         kElements);
    FusedUpdate update(*memory, space_, kElements, reduce::cut_units(space_, 0, kBlocks, most),
                       rule, 0, undo, [](std::uint64_t block) { ADD_FAILURE() << block; });
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      memory->checks(0)[block] = memory->check_of(block, 0);
    }
    const std::size_t units = reduce::cut_units(space_, 0, kBlocks, most).size();
    for (std::uint64_t round = 0; round < 5; ++round) {
      update.prepare(round, round, read_settings(optimizer, rule), factor != 1, false);
      std::vector<float> gradient(kElements);
      fill(gradient.data(), round + 10);
      const std::vector<Range> cut = reduce::cut_units(space_, 0, kBlocks, most);
      for (std::size_t unit = 0; unit < units; ++unit) {
        std::memcpy(update.target(unit), gradient.data() + cut[unit].begin, cut[unit].count * 4);
        update.apply(unit, factor);
      }
    }
    const float* out = memory->parameters(5);
    return {out, out + kElements};
  }

  static void fill(float* to, std::uint64_t key) {
    Random random(key);
    for (std::uint64_t i = 0; i < kElements; ++i) to[i] = static_cast<float>(random.normal());
  }

  // The same five updates by torch::optim itself.
  static std::vector<float> reference(torch::optim::Optimizer& optimizer,
                                      std::vector<at::Tensor>& parameters, float factor = 1) {
    std::vector<float> flat(kElements);
    const auto visit = [&](auto&& each) {
      std::uint64_t at = 0;
      for (at::Tensor& parameter : parameters) {
        each(parameter, flat.data() + at);
        at += static_cast<std::uint64_t>(parameter.numel());
      }
    };
    fill(flat.data(), 1);
    visit([](at::Tensor& p, float* from) {
      std::memcpy(p.mutable_data_ptr<float>(), from, p.nbytes());
    });
    for (std::uint64_t round = 0; round < 5; ++round) {
      fill(flat.data(), round + 10);
      for (float& value : flat) value *= factor;
      visit([](at::Tensor& p, float* from) {
        p.mutable_grad() = at::empty_like(p);
        std::memcpy(p.mutable_grad().mutable_data_ptr<float>(), from, p.nbytes());
      });
      optimizer.step();
    }
    visit([](at::Tensor& p, float* to) { std::memcpy(to, p.const_data_ptr<float>(), p.nbytes()); });
    return flat;
  }

  void check(torch::optim::Optimizer& optimizer, std::vector<at::Tensor>& parameters) {
    const std::vector<float> whole = run(optimizer, kUnitElements);
    for (const std::uint64_t most : {1U, 3U, 13U}) {
      const std::vector<float> cut = run(optimizer, most * kBlockElements);
      // Bits, not values: -0 is not 0 here.
      const auto bits = [](const std::vector<float>& values) {
        return std::vector<std::uint32_t>(
            reinterpret_cast<const std::uint32_t*>(values.data()),
            reinterpret_cast<const std::uint32_t*>(values.data()) + kElements);
      };
      ASSERT_EQ(bits(whole), bits(cut)) << "cut at " << most;
    }
    const std::vector<float> due = reference(optimizer, parameters);
    for (std::uint64_t i = 0; i < kElements; ++i) {
      ASSERT_NEAR(whole[i], due[i], 2e-5 * (1 + std::abs(due[i]))) << i;
    }
  }

  // Padding is a parameter like others here, so that the reference covers all elements.
  std::vector<at::Tensor> parameters_ = {
      at::zeros({static_cast<std::int64_t>(7 * kBlockElements)}).requires_grad_(),
      at::zeros({static_cast<std::int64_t>(kElements - 7 * kBlockElements)}).requires_grad_()};
  reduce::FlatSpace space_;
};

template <class Options>
std::vector<torch::optim::OptimizerParamGroup> groups(const std::vector<at::Tensor>& parameters,
                                                      const Options& first, const Options& second) {
  return {{{parameters[0]}, std::make_unique<Options>(first)},
          {{parameters[1]}, std::make_unique<Options>(second)}};
}

TEST_F(OwnerUpdateTest, SgdWithNesterovAndGroupsIsTorchsAndCutsChangeNoBit) {
  using torch::optim::SGDOptions;
  torch::optim::SGD optimizer(
      groups(parameters_, SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(0.01),
             SGDOptions(0.02).momentum(0.8)),
      SGDOptions(0.1));
  check(optimizer, parameters_);
}

TEST_F(OwnerUpdateTest, PlainSgdIsTorchs) {
  const torch::optim::SGDOptions plain(0.1);
  torch::optim::SGD optimizer(groups(parameters_, plain, plain), plain);
  check(optimizer, parameters_);
}

TEST_F(OwnerUpdateTest, AdamIsTorchsAndCutsChangeNoBit) {
  using torch::optim::AdamOptions;
  torch::optim::Adam optimizer(groups(parameters_, AdamOptions(1e-2).weight_decay(0.01),
                                      AdamOptions(3e-3).betas({0.8, 0.99})));
  check(optimizer, parameters_);
}

TEST_F(OwnerUpdateTest, AdamWIsTorchsAndCutsChangeNoBit) {
  using torch::optim::AdamWOptions;
  torch::optim::AdamW optimizer(groups(parameters_, AdamWOptions(1e-2).weight_decay(0.1),
                                       AdamWOptions(3e-3).weight_decay(0)));
  check(optimizer, parameters_);
}

TEST_F(OwnerUpdateTest, TheVerdictsFactorScalesTheGradient) {
  const torch::optim::SGDOptions plain(0.1);
  torch::optim::SGD optimizer(groups(parameters_, plain, plain), plain);
  const std::vector<float> scaled = run(optimizer, kUnitElements, 0.25F);
  const std::vector<float> due = reference(optimizer, parameters_, 0.25F);
  for (std::uint64_t i = 0; i < kElements; ++i) ASSERT_NEAR(scaled[i], due[i], 1e-5);
}

// Parameters, moments and what a codec keeps back, before they are stepped or carried on.
TEST_F(OwnerUpdateTest, AFlippedBitOfAnyPartOfTheStateIsFound) {
  using torch::optim::AdamOptions;
  torch::optim::Adam optimizer(groups(parameters_, AdamOptions(0.1), AdamOptions(0.2)),
                               AdamOptions());
  const auto settings = read_settings(optimizer, Rule::kAdam);
  constexpr std::size_t kNodes = 2;
  struct Found : std::exception {
    explicit Found(std::uint64_t at) : block(at) {}
    std::uint64_t block;
  };
  for (int part = 0; part < 5; ++part) {
    for (const bool carried : {false, true}) {
      auto files = fabric::make_host_files(1);
      auto memory = StateMemory::map(files->state, kBlocks, 2, false, kNodes);
      ASSERT_TRUE(memory.ok());
      auto map = fabric::Mapping::map(files->arenas[0], true);
      ASSERT_TRUE(map.ok());
      fabric::Arena arena(std::span(map->data(), map->size()));
      const auto words = std::make_unique<fabric::AgentWords>();
      round::UndoSlot undo(arena, *words, memory->data(), memory->stepped(), memory->stamps(),
                           kElements);
      const std::vector<Range> units = reduce::cut_units(space_, 0, kBlocks, kUnitElements);
      FusedUpdate update(*memory, space_, kElements, units, Rule::kAdam, 0, undo,
                         [](std::uint64_t block) { throw Found(block); });
      fill(memory->parameters(0), 1);
      for (std::size_t node = 0; node < kNodes; ++node) fill(memory->residual(0, node), 2 + node);
      for (std::uint64_t block = 0; block < kBlocks; ++block) {
        memory->checks(0)[block] = memory->check_of(block, 0);
      }
      const auto go = [&](std::uint64_t round) {
        update.prepare(round, round, settings, false, false);
        for (std::size_t unit = 0; unit < units.size(); ++unit) {
          for (std::size_t node = 0; node < kNodes; ++node) {
            const reduce::Residual kept = update.residual(node, unit);
            for (std::uint64_t i = 0; i < units[unit].count; ++i) {
              kept.next[i] = kept.standing[i] + 1;
            }
          }
          std::fill_n(update.target(unit), units[unit].count, 0.5F);
          carried ? update.carry(unit) : update.apply(unit, 1);
        }
      };
      ASSERT_NO_THROW(go(0));
      for (std::size_t node = 0; node < kNodes; ++node) {
        const float standing = memory->residual(0, node)[9];
        EXPECT_EQ(memory->residual(1, node)[9], carried ? standing : standing + 1);
      }
      constexpr std::uint64_t kBlock = 33;
      float* const regions[] = {memory->parameters(1), memory->moment(0), memory->moment(1),
                                memory->residual(1, 0), memory->residual(1, 1)};
      std::uint32_t bits = 0;
      float& value = regions[part][kBlock * kBlockElements + 77];
      std::memcpy(&bits, &value, sizeof bits);
      bits ^= 1U;
      std::memcpy(&value, &bits, sizeof bits);
      try {
        go(1);
        ADD_FAILURE() << "part " << part << " carried " << carried;
      } catch (const Found& found) {
        EXPECT_EQ(found.block, kBlock);
      }
    }
  }
}

// A host that came in where blocks were stepped already clipped the others by a norm without them.
TEST_F(OwnerUpdateTest, ANewHostGetsTheScalarsOfAllBlocks) {
  auto files = fabric::make_host_files(1);
  auto memory = StateMemory::map(files->state, kBlocks, 2);
  ASSERT_TRUE(memory.ok());
  const std::vector<std::uint64_t> parts = memory->state_at(3);
  for (const double* sums : {memory->gradient_sums(), memory->change_sums()}) {
    const auto* at = reinterpret_cast<const std::byte*>(sums);
    const auto found = std::find(parts.begin(), parts.end(), std::uint64_t(at - memory->data()));
    ASSERT_NE(found, parts.end());
    EXPECT_EQ(found[1], kBlocks * sizeof(double));
  }
}

TEST_F(OwnerUpdateTest, OthersSlicesAreReadOnly) {
  auto files = fabric::make_host_files(1);
  auto memory = StateMemory::map(files->state, kBlocks, 0);
  ASSERT_TRUE(memory->own({{0, 10, 0}, {10, kBlocks - 10, 1}}, 0).ok());
  memory->parameters(0)[10 * kBlockElements - 1] = 1;
  EXPECT_DEATH(memory->parameters(0)[10 * kBlockElements] = 1, "");
}

TEST(RuleTest, OptimizersThatOwnersDoNotKnowStepOnReplicas) {
  const std::vector<at::Tensor> parameters = {at::zeros({4}).requires_grad_()};
  torch::optim::Adam plain(parameters, torch::optim::AdamOptions());
  torch::optim::Adam amsgrad(parameters, torch::optim::AdamOptions().amsgrad(true));
  EXPECT_EQ(rule_of(plain), Rule::kAdam);
  EXPECT_EQ(rule_of(amsgrad), Rule::kReplica);
}

TEST(ScheduleTest, WarmsUpStepsAndFallsAsACosine) {
  job::Schedule schedule;
  schedule.warmup_rounds = 4;
  EXPECT_DOUBLE_EQ(schedule_factor(schedule, 0, 10, 100), 0.2);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule, 4, 10, 100), 1);
  schedule.kind = job::ScheduleKind::kStep;
  schedule.step_epochs = 2;
  schedule.gamma = 0.5;
  EXPECT_DOUBLE_EQ(schedule_factor(schedule, 19, 10, 100), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule, 45, 10, 100), 0.25);
  schedule.kind = job::ScheduleKind::kCosine;
  schedule.final_factor = 0.1;
  EXPECT_DOUBLE_EQ(schedule_factor(schedule, 4, 10, 105), 1);
  EXPECT_NEAR(schedule_factor(schedule, 54, 10, 105), 0.55, 1e-12);
  EXPECT_NEAR(schedule_factor(schedule, 104, 10, 105), 0.1, 1e-12);
}

}  // namespace
}  // namespace instep::sync
