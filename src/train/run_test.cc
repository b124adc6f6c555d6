// instep::Run in a process of its own, alone, against plain libtorch on the same samples. Each case
// is a process under ctest, since a process has one Run.
#include "instep/run.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/module.h>
#include <torch/optim/adam.h>
#include <torch/optim/optimizer.h>

#include "model/mlp.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;

// An optimizer that owners do not know: it keeps the combined gradient of each step and moves by
// it.
class Recorder : public torch::optim::Optimizer {
 public:
  explicit Recorder(const std::vector<at::Tensor>& parameters)
      : Optimizer(parameters, std::make_unique<torch::optim::AdamOptions>()) {}
  at::Tensor step(LossClosure /*closure*/) override {
    const at::NoGradGuard guard;
    std::vector<at::Tensor> flat;
    for (const at::Tensor& p : param_groups()[0].params()) {
      flat.push_back(p.grad().flatten());
      p.add_(p.grad(), -0.1);
    }
    gradients.push_back(at::cat(flat));
    return {};
  }
  std::vector<at::Tensor> gradients;
};

std::vector<char*> arguments() {
  static char name[] = "program";
  return {name};
}

struct Data {
  at::Tensor x = at::randn({203, 20});
  at::Tensor y = at::randint(0, 5, {203}, at::kLong);
};

at::Tensor flat_gradient(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& p : parameters) flat.push_back(p.grad().flatten());
  return at::cat(flat);
}

// The last round of an epoch is short (203 samples, batch 50): weights differ between shards.
TEST(RunTest, CombinedGradientIsPlainLibtorchsOnTheWholeBatch) {
  auto args = arguments();
  instep::Run run(1, args.data(), {.epochs = 3, .batch = 50, .shards = 8, .seed = 5});
  const Data data;
  const model::Network network = model::make_mlp({20, 16, 5}, job::Activation::kTanh);
  const model::Network plain = model::make_mlp({20, 16, 5}, job::Activation::kTanh);
  Recorder optimizer(network.module->parameters());
  std::vector<std::vector<at::Tensor>> batches(1);
  const auto copy = [](const model::Network& to, const model::Network& from) {
    const at::NoGradGuard guard;
    for (std::size_t i = 0; i < to.module->parameters().size(); ++i) {
      to.module->parameters()[i].copy_(from.module->parameters()[i]);
    }
  };
  run.share(*network.module, optimizer);
  std::uint64_t rounds = 0;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    copy(plain, network);
    std::vector<at::Tensor> x;
    std::vector<at::Tensor> y;
    const double loss = round.step([&](const Batch& batch) {
      x.push_back(batch.data);
      y.push_back(batch.target);
      return F::cross_entropy(network.forward(batch.data), batch.target);
    });
    const at::Tensor whole = F::cross_entropy(plain.forward(at::cat(x)), at::cat(y));
    plain.module->zero_grad();
    whole.backward();
    const at::Tensor due = flat_gradient(plain.module->parameters());
    const at::Tensor got = optimizer.gradients.back();
    EXPECT_LE((got - due).norm().item<double>(), 1e-5 * due.norm().item<double>()) << rounds;
    EXPECT_NEAR(loss, whole.item<double>(), 1e-5);
    ++rounds;
  }
  EXPECT_EQ(rounds, 15U);
}

// An owner's update (fused Adam) and torch's own loop give the same curve.
TEST(RunTest, LossCurveAgreesWithAPlainLibtorchLoop) {
  auto args = arguments();
  instep::Run run(1, args.data(), {.epochs = 8, .batch = 50, .shards = 4, .seed = 5});
  const Data data;
  const model::Network network = model::make_mlp({20, 32, 5}, job::Activation::kRelu);
  const model::Network plain = model::make_mlp({20, 32, 5}, job::Activation::kRelu);
  {
    const at::NoGradGuard guard;
    for (std::size_t i = 0; i < 4; ++i) {
      plain.module->parameters()[i].copy_(network.module->parameters()[i]);
    }
  }
  torch::optim::Adam optimizer(network.module->parameters(), torch::optim::AdamOptions(1e-2));
  torch::optim::Adam plain_optimizer(plain.module->parameters(), torch::optim::AdamOptions(1e-2));
  run.share(*network.module, optimizer);
  std::uint64_t epochs = 0;
  run.on_epoch([&](EpochInfo& epoch) { EXPECT_EQ(epoch.data_epoch, ++epochs); });
  double last = 0;
  double first = 0;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<at::Tensor> x;
    std::vector<at::Tensor> y;
    last = round.step([&](const Batch& batch) {
      x.push_back(batch.data);
      y.push_back(batch.target);
      return F::cross_entropy(network.forward(batch.data), batch.target);
    });
    const at::Tensor loss = F::cross_entropy(plain.forward(at::cat(x)), at::cat(y));
    if (first == 0) first = last;
    EXPECT_NEAR(last, loss.item<double>(), 2e-3);
    plain_optimizer.zero_grad();
    loss.backward();
    plain_optimizer.step();
  }
  EXPECT_EQ(epochs, 8U);
  EXPECT_LT(last, first);
}

// A parameter that some shards do not use has gradients from the others alone.
TEST(RunTest, AParameterUnusedInSomeShardsIsAbsentThere) {
  auto args = arguments();
  instep::Run run(1, args.data(), {.epochs = 1, .batch = 8, .shards = 4});
  struct Two : torch::nn::Module {
    Two() {
      a = register_parameter("a", at::ones({3}));
      b = register_parameter("b", at::ones({3}));
    }
    at::Tensor a, b;
  };
  auto module = std::make_shared<Two>();
  Recorder optimizer(module->parameters());
  run.share(*module, optimizer);
  const Dataset dataset = Dataset::tensors(at::ones({8, 3}), at::zeros({8, 1}));
  for (Round& round : run.rounds(dataset)) {
    round.step([&](const Batch& batch) {
      at::Tensor out = (batch.data * module->a).sum() / 2;
      if (batch.shard == 1) out = out + 4 * module->b.sum();
      return out;
    });
  }
  // a: each of 4 shards has 3 ones of mean 1 over two samples; b: shard 1's 4, a quarter of the
  // batch.
  EXPECT_TRUE(at::equal(optimizer.gradients.at(0), at::cat({at::ones({3}), at::ones({3})})));
}

}  // namespace
}  // namespace instep
