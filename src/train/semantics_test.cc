// To which single-process loop a job corresponds (docs/semantics.md): instep::Run alone against
// plain libtorch, bit for bit. Each case is a process under ctest, since a process has one Run.
#include <ATen/autocast_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "instep/run.h"
#include "train/run_impl.h"
#include "train/test_plain.h"
#include "train/test_program.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;

torch::nn::Sequential normed_network() {
  return torch::nn::Sequential(torch::nn::Linear(20, 16), torch::nn::BatchNorm1d(16),
                               torch::nn::Tanh(), torch::nn::Linear(16, 5));
}

using reference::assign;
using reference::copies;
using reference::step_sgd;
using reference::Values;

void expect_equal(const Values& got, const Values& due, const std::string& what) {
  ASSERT_EQ(got.size(), due.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(at::equal(got[i], due[i])) << what << ": tensor " << i;
  }
}

// A run, and beside it a plain network with the same first weights.
struct Twins {
  Twins(const std::vector<std::string>& flags, const Defaults& defaults, std::int64_t samples,
        const torch::optim::SGDOptions& options)
      : arguments(flags),
        run(arguments.argc(), arguments.argv(), defaults),
        data(samples),
        optimizer(network->parameters(), options) {
    assign(plain->parameters(), network->parameters());
    run.share(network, optimizer);
  }
  Rounds rounds() { return run.rounds(Dataset::tensors(data.x, data.y)); }
  Values plain_gradients() const {
    Values out;
    for (const at::Tensor& p : plain->parameters()) out.push_back(p.grad());
    return out;
  }

  Arguments arguments;
  instep::Run run;
  const Samples data;
  torch::nn::Sequential network = normed_network(), plain = normed_network();
  torch::optim::SGD optimizer;
};

// 203 samples in rounds of 50: the last round of an epoch is short and its weights are uneven.
void check_ghost_batches(std::int64_t shards, std::int64_t samples, std::int64_t batch) {
  Twins twins({}, {.epochs = 3, .batch = batch, .shards = shards, .seed = 5}, samples,
              torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(true));
  reference::GhostBatches loop(twins.plain.ptr(), (batch + shards - 1) / shards);
  for (Round& round : twins.rounds()) {
    std::vector<Batch> batches;
    round.step([&](const Batch& given) {
      batches.push_back(given);
      return F::cross_entropy(twins.network->forward(given.data), given.target);
    });
    loop.begin_round();
    for (const Batch& given : batches) {
      loop.shard(given.data.size(0),
                 [&] { return F::cross_entropy(twins.plain->forward(given.data), given.target); });
    }
    loop.step({.lr = 0.1, .momentum = 0.9, .nesterov = true});
    const std::string where = "round " + std::to_string(round.number());
    expect_equal(twins.network->parameters(), twins.plain->parameters(), where + " parameters");
    expect_equal(twins.network->buffers(), twins.plain->buffers(), where + " buffers");
    if (testing::Test::HasFailure()) return;
  }
}

TEST(SemanticsTest, BatchNormInShardsIsAPlainLoopOverGhostBatches) {
  check_ghost_batches(4, 203, 48);
}

// One shard and full batches: the usual loop of libtorch, nothing else.
TEST(SemanticsTest, OneShardIsThePlainLoop) { check_ghost_batches(1, 200, 50); }

// A part of a shard is a ghost batch that begins where the part before it ended, and gradients are
// added as autograd does.
TEST(SemanticsTest, AccumulationIsBackwardOverTheParts) {
  Twins twins({"--instep.accumulate=3"}, {.epochs = 1, .batch = 50, .shards = 1, .seed = 5}, 200,
              torch::optim::SGDOptions(0.1));
  for (Round& round : twins.rounds()) {
    std::vector<std::int64_t> parts;
    twins.plain->zero_grad();
    round.step([&](const Batch& given) {
      parts.push_back(given.data.size(0));
      const double weight = static_cast<double>(given.data.size(0)) / 50;
      F::cross_entropy(twins.plain->forward(given.data), given.target).mul(weight).backward();
      return F::cross_entropy(twins.network->forward(given.data), given.target);
    });
    EXPECT_EQ(parts, (std::vector<std::int64_t>{17, 17, 16}));
    Values none;
    step_sgd(twins.plain->parameters(), twins.plain_gradients(), {.lr = 0.1}, none);
    expect_equal(twins.network->parameters(), twins.plain->parameters(), "parameters");
    expect_equal(twins.network->buffers(), twins.plain->buffers(), "buffers");
  }
}

TEST(SemanticsTest, Bf16IsLibtorchsAutocast) {
  Twins twins({"--instep.precision=bf16"}, {.epochs = 2, .batch = 50, .shards = 1, .seed = 5}, 200,
              torch::optim::SGDOptions(0.1));
  for (Round& round : twins.rounds()) {
    std::vector<Batch> batches;
    round.step([&](const Batch& given) {
      batches.push_back(given);
      const at::Tensor output = twins.network->forward(given.data);
      EXPECT_EQ(output.scalar_type(), at::kBFloat16);
      return F::cross_entropy(output, given.target);
    });
    twins.plain->zero_grad();
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    const at::Tensor loss =
        F::cross_entropy(twins.plain->forward(batches[0].data), batches[0].target);
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
    loss.backward();
    Values none;
    step_sgd(twins.plain->parameters(), twins.plain_gradients(), {.lr = 0.1}, none);
    expect_equal(twins.network->parameters(), twins.plain->parameters(), "parameters");
  }
}

TEST(SemanticsTest, TheAverageFollowsTheParameters) {
  Arguments arguments({"--instep.ema.decay=0.75"});
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 2, .batch = 50, .shards = 2});
  const Samples data(200);
  torch::nn::Sequential network = normed_network();
  Values average = copies(network->parameters());
  torch::optim::AdamW optimizer(network->parameters(), torch::optim::AdamWOptions(0.01));
  run.share(network, optimizer);
  train::Engine& engine = *run.impl().engine;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    round.step([&](const Batch& given) {
      return F::cross_entropy(network->forward(given.data), given.target);
    });
    const Values now = copies(network->parameters());
    for (std::size_t i = 0; i < average.size(); ++i) {
      average[i] = average[i] + (now[i] - average[i]).mul(0.25F);
    }
    engine.use_average(true);
    expect_equal(network->parameters(), average, "average");
    engine.use_average(false);
    expect_equal(network->parameters(), now, "parameters");
  }
}

// Buffers that nobody changes keep their bits, whatever the weights of the shards do to a mean.
TEST(SemanticsTest, ABufferThatNoShardChangesKeepsItsBits) {
  struct Scaled : torch::nn::Module {
    Scaled() : linear(register_module("linear", torch::nn::Linear(20, 5))) {
      scale = register_buffer("scale", at::randn({5}));
    }
    at::Tensor forward(const at::Tensor& x) { return linear(x) * scale; }
    torch::nn::Linear linear;
    at::Tensor scale;
  };
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 2, .batch = 50, .shards = 3});
  const Samples data(203);
  const auto network = std::make_shared<Scaled>();
  const at::Tensor due = network->scale.clone();
  torch::optim::SGD optimizer(network->parameters(), torch::optim::SGDOptions(0.1));
  run.share(*network, optimizer);
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    round.step([&](const Batch& given) {
      return F::cross_entropy(network->forward(given.data), given.target);
    });
    ASSERT_TRUE(at::equal(network->scale, due)) << round.number();
  }
}

}  // namespace
}  // namespace instep
