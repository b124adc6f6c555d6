// Helpers of this folder's tests.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/module.h>
#include <torch/optim/sgd.h>

#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "model/network.h"

namespace instep::model {

inline Network make(const job::Model& model, std::uint64_t seed = 1) {
  at::set_num_threads(1);
  at::globalContext().setDeterministicAlgorithms(true, false);
  at::manual_seed(seed);
  auto network = make_network(model);
  EXPECT_TRUE(network.ok()) << network.error().message;
  return network.take();
}

// A batch and its classes, [4] or for tokens [4, 9].
struct Sample {
  at::Tensor x, y;
};
inline Sample sample(const job::Model& model) {
  at::manual_seed(7);
  constexpr std::int64_t kBatch = 4, kSteps = 9, kSide = 16;
  if (model.kind == "gpt" || (model.kind == "lstm" && model.inputs == 0)) {
    return {at::randint(model.vocabulary, {kBatch, kSteps}, at::kLong),
            at::randint(model.vocabulary, {kBatch, kSteps}, at::kLong)};
  }
  const at::Tensor y = at::randint(model.outputs, {kBatch}, at::kLong);
  if (model.kind == "lstm") return {at::randn({kBatch, kSteps, model.inputs}), y};
  return {at::randn({kBatch, model.channels, kSide, kSide}), y};
}

inline at::Tensor loss_of(const Network& network, const Sample& sample) {
  return torch::nn::functional::cross_entropy(network.forward(sample.x).flatten(0, -2),
                                              sample.y.flatten());
}

// Losses of a few steps of SGD; the generator is seeded before each as in a run.
inline std::vector<double> train(const Network& network, const Sample& sample, int steps,
                                 double lr) {
  torch::optim::SGD optimizer(network.module->parameters(), torch::optim::SGDOptions(lr));
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    at::manual_seed(100 + step);
    optimizer.zero_grad();
    const at::Tensor loss = loss_of(network, sample);
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item<double>());
  }
  return losses;
}

// Name -> shape, of parameters and buffers.
inline std::map<std::string, std::string> shapes(const torch::nn::Module& module) {
  std::map<std::string, std::string> out;
  for (const auto& item : module.named_parameters()) out[item.key()] = cat(item.value().sizes());
  for (const auto& item : module.named_buffers()) out[item.key()] = cat(item.value().sizes());
  return out;
}

}  // namespace instep::model
