// What instep::Run refuses: each is one clear line and exit code 2.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cstdlib>
#include <stdexcept>

#include "instep/run.h"
#include "train/test_program.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;
using RoundLoss = std::function<at::Tensor(const Batch&)>;

const testing::ExitedWithCode kRefused(2);

struct Net : torch::nn::Module {
  torch::nn::Linear linear{20, 5};
  at::Tensor seen;
  explicit Net(bool counts = false) {
    register_module("linear", linear);
    if (counts) seen = register_buffer("seen", at::zeros({1}, at::kDouble));
  }
  at::Tensor forward(const at::Tensor& x) {
    if (seen.defined()) seen.add_(1);
    return linear(x);
  }
};

class RunRefusalTest : public testing::Test {
 protected:
  // A program with these flags that trains `net` (made after Run) with `loss`, or its usual one.
  static void train(const std::vector<std::string>& flags, bool counts = false,
                    RoundLoss loss = nullptr,
                    const std::function<void(instep::Run&)>& more = nullptr) {
    Arguments arguments(flags);
    instep::Run run(arguments.argc(), arguments.argv(), {.epochs = 1, .batch = 8, .shards = 2});
    const auto net = std::make_shared<Net>(counts);
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
    if (more) more(run);
    const Samples data(16);
    for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
      round.step([&](const Batch& batch) {
        return loss ? loss(batch) : F::cross_entropy(net->forward(batch.data), batch.target);
      });
    }
    std::exit(0);
  }
};

TEST_F(RunRefusalTest, NothingOfAPlainProgram) {
  EXPECT_EXIT(train({}), testing::ExitedWithCode(0), "epoch 1/1");
}

TEST_F(RunRefusalTest, BuffersThatChangeAndCannotBeCombined) {
  EXPECT_EXIT(train({}, true), kRefused, "buffer seen changes in training, .*float32, int64");
}

TEST_F(RunRefusalTest, ALossThatIsNoSingleNumber) {
  EXPECT_EXIT(
      train({}, false, [](const Batch& batch) { return batch.data.detach().requires_grad_(); }),
      kRefused, "not a single number that depends on the model's parameters");
}

TEST_F(RunRefusalTest, ALossThatDependsOnNothing) {
  EXPECT_EXIT(train({}, false, [](const Batch&) { return at::ones({}); }), kRefused,
              "not a single number that depends on the model's parameters");
  EXPECT_EXIT(train({}, false, [](const Batch&) { return at::Tensor(); }), kRefused,
              "not a single number that depends on the model's parameters");
}

TEST_F(RunRefusalTest, ALossThatThrows) {
  EXPECT_EXIT(train({}, false,
                    [](const Batch&) -> at::Tensor { throw std::runtime_error("no such word"); }),
              kRefused, "instep: the loss could not be computed in round 0: no such word\n$");
  // NOLINTNEXTLINE(bugprone-std-exception-baseclass): that is what is tested
  EXPECT_EXIT(train({}, false, [](const Batch&) -> at::Tensor { throw 7; }), kRefused,
              "the loss could not be computed in round 0: it threw no std::exception");
}

// libtorch's message without the trace of frames behind it.
TEST_F(RunRefusalTest, ALossOfWrongShapes) {
  EXPECT_EXIT(train({}, false,
                    [](const Batch& batch) {
                      return batch.data.mm(at::ones({3, 3})).sum();
                    }),
              kRefused, "in round 0: mat1 and mat2 shapes cannot be multiplied[^\n]*\n$");
}

TEST_F(RunRefusalTest, CallbacksThatThrow) {
  EXPECT_EXIT(train({}, false, nullptr,
                    [](instep::Run& run) {
                      run.on_round([](const RoundInfo&) { throw std::runtime_error("full"); });
                    }),
              kRefused, "instep: on_round's callback failed after round 1: full\n$");
  EXPECT_EXIT(train({}, false, nullptr,
                    [](instep::Run& run) {
                      run.on_epoch([](EpochInfo&) { throw std::runtime_error("empty"); });
                    }),
              kRefused, "instep: on_epoch's callback failed after round 2: empty\n$");
}

TEST_F(RunRefusalTest, AScoreThatThrows) {
  const auto evaluate = [](instep::Run& run) {
    const Samples data(16);
    run.evaluate(Dataset::tensors(data.x, data.y),
                 [](const Batch&) -> Score { throw std::runtime_error("no score"); });
  };
  EXPECT_EXIT(train({}, false, nullptr, evaluate), kRefused,
              "instep: the evaluation failed: no score\n$");
}

// Such a loop would never end.
TEST_F(RunRefusalTest, ARoundWithoutItsStep) {
  const auto empty = [] {
    Arguments arguments;
    instep::Run run(arguments.argc(), arguments.argv(), {.batch = 8, .shards = 2});
    const auto net = std::make_shared<Net>();
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
    const Samples data(16);
    for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) (void)round;
  };
  EXPECT_EXIT(empty(), kRefused, "round 0 was handed out and step\\(\\) was not called");
}

TEST_F(RunRefusalTest, TwoStepsOfOneRound) {
  const auto twice = [] {
    Arguments arguments;
    instep::Run run(arguments.argc(), arguments.argv(), {.batch = 8, .shards = 2});
    const auto net = std::make_shared<Net>();
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
    const Samples data(16);
    const RoundLoss loss = [&](const Batch& batch) {
      return F::cross_entropy(net->forward(batch.data), batch.target);
    };
    for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
      round.step(loss);
      round.step(loss);
    }
  };
  EXPECT_EXIT(twice(), kRefused, "step\\(\\) was called twice");
}

TEST_F(RunRefusalTest, DoubleParameters) {
  const auto share = [] {
    Arguments arguments;
    instep::Run run(arguments.argc(), arguments.argv());
    const auto net = std::make_shared<Net>();
    net->to(at::kDouble);
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
  };
  EXPECT_EXIT(share(), kRefused, "parameter linear\\.weight is .*Double.*to\\(torch::kFloat32\\)");
}

TEST_F(RunRefusalTest, AnOptimizerThatTrainsFrozenParameters) {
  const auto share = [] {
    Arguments arguments;
    instep::Run run(arguments.argc(), arguments.argv());
    const auto net = std::make_shared<Net>();
    net->linear->bias.requires_grad_(false);
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
  };
  EXPECT_EXIT(share(), kRefused, "parameter linear\\.bias .*cannot be trained");
}

// A tied weight: libtorch's parameters() has it once for each module that holds it.
struct Tied : torch::nn::Module {
  torch::nn::Linear in{20, 20}, out{20, 20};
  Tied() {
    register_module("in", in);
    register_module("out", out);
    out->weight = out->register_parameter("tied", in->weight);
  }
};

TEST_F(RunRefusalTest, ATiedParameterThatTheOptimizerHasTwice) {
  const auto share = [] {
    Arguments arguments;
    instep::Run run(arguments.argc(), arguments.argv());
    const auto net = std::make_shared<Tied>();
    torch::optim::SGD optimizer({net->in->weight, net->out->weight}, torch::optim::SGDOptions(0.1));
    run.share(net, optimizer);
  };
  EXPECT_EXIT(share(), kRefused, "parameter in\\.weight is given to the optimizer twice");
}

TEST_F(RunRefusalTest, WhatNeedsOwnersForAnOptimizerThatTheyDoNotKnow) {
  const auto share = [](const std::string& flag) {
    Arguments arguments({flag});
    instep::Run run(arguments.argc(), arguments.argv());
    const auto net = std::make_shared<Net>();
    torch::optim::RMSprop optimizer(net->parameters(), torch::optim::RMSpropOptions(0.1));
    run.share(net, optimizer);
  };
  EXPECT_EXIT(share("--instep.stop.parameter_change=0.1"), kRefused,
              "stop\\.parameter_change .*use another stop rule");
  EXPECT_EXIT(share("--instep.codec.kind=top-k"), kRefused, "codec\\.kind .*use bf16 or int8");
  EXPECT_EXIT(share("--instep.policy.kind=sharded"), kRefused,
              "policy\\.kind = \"sharded\" .*use policy\\.kind = \"all-reduce\"");
}

TEST_F(RunRefusalTest, FlagsThatAreNoSettings) {
  EXPECT_EXIT(train({"--instep.epoch=3"}), kRefused, "unknown key epoch; did you mean epochs");
  EXPECT_EXIT(train({"--instep.shards=many"}), kRefused, "shards: found .*many");
  EXPECT_EXIT(train({"--instep.batch=1"}), kRefused, "batch");
}

TEST_F(RunRefusalTest, FewerSamplesThanShards) {
  EXPECT_EXIT(train({"--instep.shards=32", "--instep.batch=32"}), kRefused,
              "the training set has 16 samples for 32 shards");
}

}  // namespace
}  // namespace instep
