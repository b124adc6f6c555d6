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
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/optimizer.h>
#include <torch/optim/rmsprop.h>

#include "base/text.h"
#include "model/mlp.h"
#include "train/test_program.h"

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

at::Tensor flat_gradient(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& p : parameters) flat.push_back(p.grad().flatten());
  return at::cat(flat);
}

model::Network mlp(std::vector<std::int64_t> layers, job::Activation activation) {
  job::Model spec;
  spec.layers = std::move(layers);
  spec.activation = activation;
  return model::make_mlp(spec);
}

// Trains on whole batches beside plain libtorch with the same parameters; what the optimizer is
// given, by round, and what it is due. The last round of an epoch is short (203 samples, batch 50):
// weights differ between shards.
struct Combined {
  std::vector<at::Tensor> got, due;
};

Combined combined_gradients(const std::vector<std::string>& flags) {
  Arguments arguments(flags);
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 3, .batch = 50, .shards = 8, .seed = 5});
  const Samples data(203);
  const model::Network network = mlp({20, 16, 5}, job::Activation::kTanh);
  const model::Network plain = mlp({20, 16, 5}, job::Activation::kTanh);
  Recorder optimizer(network.module->parameters());
  run.share(*network.module, optimizer);
  Combined out;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    copy_parameters(*network.module, *plain.module);
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
    out.due.push_back(flat_gradient(plain.module->parameters()));
    EXPECT_NEAR(loss, whole.item<double>(), 1e-5);
  }
  out.got = optimizer.gradients;
  return out;
}

double difference(const at::Tensor& got, const at::Tensor& due) {
  return ((got - due).norm() / due.norm()).item<double>();
}

TEST(RunTest, CombinedGradientIsPlainLibtorchsOnTheWholeBatch) {
  const Combined all = combined_gradients({});
  EXPECT_EQ(all.due.size(), 15U);
  for (std::size_t round = 0; round < all.due.size(); ++round) {
    EXPECT_LE(difference(all.got.at(round), all.due[round]), 1e-5) << round;
  }
}

// Off by the codec's error: a part of the shards' gradients, which are larger than their mean.
void expect_off(const char* codec, double most) {
  const Combined all = combined_gradients({cat("--instep.codec.kind=", codec)});
  EXPECT_EQ(all.due.size(), 15U);
  for (std::size_t round = 0; round < all.due.size(); ++round) {
    EXPECT_LE(difference(all.got.at(round), all.due[round]), most) << round;
    EXPECT_GE(difference(all.got.at(round), all.due[round]), 1e-4) << round;
  }
}

TEST(RunTest, CombinedGradientByWayOfBf16) { expect_off("bf16", 0.02); }
TEST(RunTest, CombinedGradientByWayOfInt8) { expect_off("int8", 0.1); }

// An owner's update (fused Adam) and torch's own loop give the same curve.
TEST(RunTest, LossCurveAgreesWithAPlainLibtorchLoop) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 8, .batch = 50, .shards = 4, .seed = 5});
  const Samples data(203);
  const model::Network network = mlp({20, 32, 5}, job::Activation::kRelu);
  const model::Network plain = mlp({20, 32, 5}, job::Activation::kRelu);
  copy_parameters(*network.module, *plain.module);
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
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 1, .batch = 8, .shards = 4});
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

struct Pair {
  model::Network shared = mlp({20, 16, 5}, job::Activation::kTanh);
  model::Network plain = mlp({20, 16, 5}, job::Activation::kTanh);
  Pair() { copy_parameters(*shared.module, *plain.module); }
};

std::unique_ptr<torch::optim::RMSprop> rmsprop(const model::Network& network) {
  const auto all = network.module->parameters();
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<at::Tensor>{all[0], all[2]});
  groups.emplace_back(std::vector<at::Tensor>{all[1], all[3]});
  using torch::optim::RMSpropOptions;
  groups[1].set_options(std::make_unique<RMSpropOptions>(RMSpropOptions(3e-3).momentum(0.5)));
  return std::make_unique<torch::optim::RMSprop>(groups, RMSpropOptions(1e-2).weight_decay(1e-3));
}

// Trains `pair.shared` by rounds and `pair.plain` by libtorch alone on the same batches; returns
// the largest difference of the two losses.
double train_both(Run& run, const Pair& pair, const Samples& data) {
  const auto optimizer = rmsprop(pair.shared);
  const auto plain_optimizer = rmsprop(pair.plain);
  run.share(*pair.shared.module, *optimizer);
  double worst = 0;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<at::Tensor> x;
    std::vector<at::Tensor> y;
    const double loss = round.step([&](const Batch& batch) {
      x.push_back(batch.data);
      y.push_back(batch.target);
      return F::cross_entropy(pair.shared.forward(batch.data), batch.target);
    });
    const at::Tensor due = F::cross_entropy(pair.plain.forward(at::cat(x)), at::cat(y));
    worst = std::max(worst, std::abs(loss - due.item<double>()));
    plain_optimizer->zero_grad();
    due.backward();
    plain_optimizer->step();
  }
  return worst;
}

// One shard's contribution is the whole gradient: nothing is left to round differently.
TEST(RunTest, RmspropWithOneShardIsAPlainLoopBitForBit) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 4, .batch = 40, .shards = 1});
  const Samples data(200);
  const Pair pair;
  const at::Tensor before = flat_parameters(*pair.plain.module);
  EXPECT_EQ(train_both(run, pair, data), 0.0);
  EXPECT_TRUE(at::equal(flat_parameters(*pair.shared.module), flat_parameters(*pair.plain.module)));
  EXPECT_FALSE(at::equal(flat_parameters(*pair.shared.module), before));
}

TEST(RunTest, RmspropWithUnevenShardsFollowsAPlainLoop) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 4, .batch = 50, .shards = 8});
  const Samples data(203);
  const Pair pair;
  EXPECT_LT(train_both(run, pair, data), 1e-3);
  const at::Tensor got = flat_parameters(*pair.shared.module);
  const at::Tensor due = flat_parameters(*pair.plain.module);
  EXPECT_LE((got - due).norm().item<double>(), 1e-3 * due.norm().item<double>());
}

struct Backbone : torch::nn::Module {
  torch::nn::Linear body{20, 16}, head{16, 5};
  Backbone() {
    register_module("body", body);
    register_module("head", head);
    for (at::Tensor& p : body->parameters()) p.requires_grad_(false);
  }
  at::Tensor forward(const at::Tensor& x) { return head(body(x).relu()); }
};

TEST(RunTest, FrozenParametersStayAsTheyAre) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 2, .batch = 40, .shards = 4});
  const Samples data(200);
  const auto net = std::make_shared<Backbone>();
  torch::optim::Adam optimizer(net->head->parameters(), torch::optim::AdamOptions(1e-2));
  const at::Tensor body = flat_parameters(*net->body).clone();
  const at::Tensor head = flat_parameters(*net->head).clone();
  run.share(net, optimizer);
  double first = 0;
  double last = 0;
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    last = round.step([&](const Batch& batch) {
      return F::cross_entropy(net->forward(batch.data), batch.target);
    });
    if (first == 0) first = last;
  }
  EXPECT_TRUE(at::equal(flat_parameters(*net->body), body));
  EXPECT_FALSE(at::equal(flat_parameters(*net->head), head));
  EXPECT_LT(last, first);
}

// One weight in two modules, given to the optimizer once: its gradient is the sum of both uses.
struct TiedNet : torch::nn::Module {
  torch::nn::Linear in{20, 20}, out{20, 20};
  TiedNet() {
    register_module("in", in);
    register_module("out", out);
    out->weight = in->weight;
  }
  at::Tensor forward(const at::Tensor& x) { return out(in(x).relu()); }
};

TEST(RunTest, ATiedWeightFollowsAPlainLoop) {
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 4, .batch = 40, .shards = 4});
  const Samples data(200);
  const auto net = std::make_shared<TiedNet>();
  const auto plain = std::make_shared<TiedNet>();
  copy_parameters(*net, *plain);
  torch::optim::Adam optimizer({net->in->weight}, torch::optim::AdamOptions(1e-2));
  torch::optim::Adam plain_optimizer({plain->in->weight}, torch::optim::AdamOptions(1e-2));
  run.share(net, optimizer);
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    std::vector<at::Tensor> x;
    std::vector<at::Tensor> y;
    const double loss = round.step([&](const Batch& batch) {
      x.push_back(batch.data);
      y.push_back(batch.target);
      return F::cross_entropy(net->forward(batch.data), batch.target);
    });
    const at::Tensor due = F::cross_entropy(plain->forward(at::cat(x)), at::cat(y));
    EXPECT_NEAR(loss, due.item<double>(), 2e-3);
    plain_optimizer.zero_grad();
    due.backward();
    plain_optimizer.step();
  }
  EXPECT_TRUE(at::equal(net->in->weight, net->out->weight));
}

}  // namespace
}  // namespace instep
