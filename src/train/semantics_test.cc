// To which single-process loop a job corresponds (docs/semantics.md): instep::Run alone against
// plain libtorch, bit for bit. Each case is a process under ctest, since a process has one Run.
#include <ATen/autocast_mode.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "instep/run.h"
#include "reduce/tree.h"
#include "train/run_impl.h"
#include "train/test_program.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;

torch::nn::Sequential normed_network() {
  return torch::nn::Sequential(torch::nn::Linear(20, 16), torch::nn::BatchNorm1d(16),
                               torch::nn::Tanh(), torch::nn::Linear(16, 5));
}

using Values = std::vector<at::Tensor>;

Values copies(const Values& tensors) {
  Values out;
  for (const at::Tensor& tensor : tensors) out.push_back(tensor.detach().clone());
  return out;
}

void assign(const Values& to, const Values& from) {
  const at::NoGradGuard guard;
  for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
}

void expect_equal(const Values& got, const Values& due, const std::string& what) {
  ASSERT_EQ(got.size(), due.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(at::equal(got[i], due[i])) << what << ": tensor " << i;
  }
}

// What the shards of a round give, added up by the canonical tree: the plain side of the promise.
Values tree_sum(const std::vector<Values>& shards, std::uint32_t first, std::uint32_t count) {
  if (count == 1) return shards[first];
  const std::uint32_t left = reduce::left_count(count);
  Values sum = tree_sum(shards, first, left);
  const Values right = tree_sum(shards, first + left, count - left);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

Values weighted(const Values& values, float weight) {
  Values out;
  for (const at::Tensor& value : values) {
    out.push_back(weight == 1.0F ? value.clone() : value.mul(weight));
  }
  return out;
}

// Whole vectors: the fused kernels treat the last elements of a tensor otherwise than those before
// them, and instep's parameters lie in blocks.
at::Tensor padded(const at::Tensor& values) {
  constexpr std::int64_t kBlock = 1024;
  const std::int64_t blocks = (values.numel() + kBlock - 1) / kBlock;
  at::Tensor out = at::zeros({blocks * kBlock}, at::kFloat);
  out.narrow(0, 0, values.numel()).copy_(values.detach().flatten());
  return out;
}

// SGD's step on the network's parameters by the kernel that owners use.
void fused_sgd(const Values& parameters, const Values& gradients, Values& momentum, double factor,
               double lr, bool first) {
  const at::NoGradGuard guard;
  Values flat;
  Values steps;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    flat.push_back(padded(parameters[i]));
    steps.push_back(padded(gradients[i]));
    if (first && factor > 0) momentum.push_back(at::zeros_like(flat[i]));
  }
  at::_fused_sgd_(flat, steps, momentum, 0, factor, lr, 0, factor > 0, false, first);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].copy_(flat[i].narrow(0, 0, parameters[i].numel()).view_as(parameters[i]));
  }
}

// A plain loop over ghost batches, beside the run that hands the batches out.
class PlainLoop {
 public:
  PlainLoop(const torch::nn::Sequential& network, std::int64_t full)
      : network_(network), full_(full) {}

  void begin_round() {
    start_ = copies(network_->buffers());
    gradients_.clear();
    buffers_.clear();
    samples_ = 0;
  }
  // One shard: forward and backward on a ghost batch that begins with the round's buffers.
  void shard(const Batch& batch) {
    assign(network_->buffers(), start_);
    network_->zero_grad();
    F::cross_entropy(network_->forward(batch.data), batch.target).backward();
    Values gradients;
    for (const at::Tensor& p : network_->parameters()) gradients.push_back(p.grad().clone());
    const auto weight = static_cast<float>(batch.data.size(0)) / static_cast<float>(full_);
    gradients_.push_back(weighted(gradients, weight));
    Values statistics;
    for (const at::Tensor& buffer : network_->buffers()) {
      if (buffer.is_floating_point()) statistics.push_back(buffer);
    }
    buffers_.push_back(weighted(statistics, weight));
    samples_ += batch.data.size(0);
  }
  void step(double lr, double momentum) {
    const auto count = static_cast<std::uint32_t>(gradients_.size());
    const auto factor =
        static_cast<float>(static_cast<double>(full_) / static_cast<double>(samples_));
    Values gradient = tree_sum(gradients_, 0, count);
    const Values statistics = tree_sum(buffers_, 0, count);
    const at::NoGradGuard guard;
    std::size_t next = 0;
    for (const at::Tensor& buffer : network_->buffers()) {
      if (buffer.is_floating_point()) buffer.copy_(statistics[next++].mul(factor));
    }
    for (at::Tensor& value : gradient) value = value.mul(factor);
    fused_sgd(network_->parameters(), gradient, momentum_, momentum, lr, first_);
    first_ = false;
  }

 private:
  torch::nn::Sequential network_;
  std::int64_t full_;
  Values start_, momentum_;
  std::vector<Values> gradients_, buffers_;
  std::int64_t samples_ = 0;
  bool first_ = true;
};

// 203 samples in rounds of 50: the last round of an epoch is short and its weights are uneven.
void check_ghost_batches(std::int64_t shards, std::int64_t samples, std::int64_t batch) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 3, .batch = batch, .shards = shards, .seed = 5});
  const Samples data(samples);
  torch::nn::Sequential network = normed_network();
  torch::nn::Sequential plain = normed_network();
  assign(plain->parameters(), network->parameters());
  torch::optim::SGD optimizer(network->parameters(),
                              torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(true));
  run.share(network, optimizer);
  PlainLoop loop(plain, (batch + shards - 1) / shards);
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<Batch> batches;
    round.step([&](const Batch& given) {
      batches.push_back(given);
      return F::cross_entropy(network->forward(given.data), given.target);
    });
    loop.begin_round();
    for (const Batch& given : batches) loop.shard(given);
    loop.step(0.1, 0.9);
    const std::string where = "round " + std::to_string(round.number());
    expect_equal(network->parameters(), plain->parameters(), where + " parameters");
    expect_equal(network->buffers(), plain->buffers(), where + " buffers");
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
  Arguments arguments({"--instep.accumulate=3"});
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 1, .batch = 50, .shards = 1, .seed = 5});
  const Samples data(200);
  torch::nn::Sequential network = normed_network();
  torch::nn::Sequential plain = normed_network();
  assign(plain->parameters(), network->parameters());
  torch::optim::SGD optimizer(network->parameters(), torch::optim::SGDOptions(0.1));
  run.share(network, optimizer);
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<std::int64_t> parts;
    plain->zero_grad();
    round.step([&](const Batch& given) {
      parts.push_back(given.data.size(0));
      const double weight = static_cast<double>(given.data.size(0)) / 50;
      F::cross_entropy(plain->forward(given.data), given.target).mul(weight).backward();
      return F::cross_entropy(network->forward(given.data), given.target);
    });
    EXPECT_EQ(parts, (std::vector<std::int64_t>{17, 17, 16}));
    Values gradients;
    for (const at::Tensor& p : plain->parameters()) gradients.push_back(p.grad());
    Values none;
    fused_sgd(plain->parameters(), gradients, none, 0, 0.1, true);
    expect_equal(network->parameters(), plain->parameters(), "parameters");
    expect_equal(network->buffers(), plain->buffers(), "buffers");
  }
}

TEST(SemanticsTest, Bf16IsLibtorchsAutocast) {
  Arguments arguments({"--instep.precision=bf16"});
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 2, .batch = 50, .shards = 1, .seed = 5});
  const Samples data(200);
  torch::nn::Sequential network = normed_network();
  torch::nn::Sequential plain = normed_network();
  assign(plain->parameters(), network->parameters());
  torch::optim::SGD optimizer(network->parameters(), torch::optim::SGDOptions(0.1));
  run.share(network, optimizer);
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<Batch> batches;
    round.step([&](const Batch& given) {
      batches.push_back(given);
      const at::Tensor output = network->forward(given.data);
      EXPECT_EQ(output.scalar_type(), at::kBFloat16);
      return F::cross_entropy(output, given.target);
    });
    plain->zero_grad();
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    const at::Tensor loss = F::cross_entropy(plain->forward(batches[0].data), batches[0].target);
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
    loss.backward();
    Values gradients;
    for (const at::Tensor& p : plain->parameters()) gradients.push_back(p.grad());
    Values none;
    fused_sgd(plain->parameters(), gradients, none, 0, 0.1, true);
    expect_equal(network->parameters(), plain->parameters(), "parameters");
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
