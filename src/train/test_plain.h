// The arithmetic of docs/semantics.md in plain libtorch, for tests that compare a run's bits with a
// loop in one process.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "reduce/tree.h"

namespace instep::reference {

using Values = std::vector<at::Tensor>;

inline Values copies(const Values& tensors) {
  Values out;
  for (const at::Tensor& tensor : tensors) out.push_back(tensor.detach().clone());
  return out;
}

inline void assign(const Values& to, const Values& from) {
  const at::NoGradGuard guard;
  for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
}

inline Values weighted(const Values& values, float weight) {
  Values out = copies(values);
  if (weight == 1.0F) return out;
  for (at::Tensor& value : out) value.mul_(weight);
  return out;
}

// What the shards of a round give, added up by the canonical tree.
inline Values tree_sum(const std::vector<Values>& shards, std::uint32_t first,
                       std::uint32_t count) {
  if (count == 1) return shards[first];
  const std::uint32_t left = reduce::left_count(count);
  Values sum = tree_sum(shards, first, left);
  const Values right = tree_sum(shards, first + left, count - left);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

// Whole vectors: the fused kernels treat the last elements of a tensor otherwise than those before
// them, and instep's parameters lie in blocks.
inline at::Tensor padded(const at::Tensor& values) {
  constexpr std::int64_t kBlock = 1024;
  const std::int64_t blocks = (values.numel() + kBlock - 1) / kBlock;
  at::Tensor out = at::zeros({blocks * kBlock}, at::kFloat);
  out.narrow(0, 0, values.numel()).copy_(values.detach().flatten());
  return out;
}

struct Sgd {
  double lr = 0, momentum = 0, dampening = 0;
  bool nesterov = false;
};

// Its step on the parameters by the kernel that owners use; `buffers` are its momentum, empty
// before the first step.
inline void step_sgd(const Values& parameters, const Values& gradients, const Sgd& sgd,
                     Values& buffers) {
  const at::NoGradGuard guard;
  const bool first = buffers.empty();
  Values flat;
  Values steps;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    flat.push_back(padded(parameters[i]));
    steps.push_back(padded(gradients[i]));
    if (first && sgd.momentum > 0) buffers.push_back(at::zeros_like(flat[i]));
  }
  at::_fused_sgd_(flat, steps, buffers, 0, sgd.momentum, sgd.lr, sgd.dampening, sgd.nesterov, false,
                  first);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].copy_(flat[i].narrow(0, 0, parameters[i].numel()).view_as(parameters[i]));
  }
}

// A round as a loop over ghost batches, on a module of its own.
class GhostBatches {
 public:
  // `full`: samples of a full shard.
  GhostBatches(std::shared_ptr<torch::nn::Module> module, std::int64_t full)
      : module_(std::move(module)), full_(full) {}

  void begin_round() {
    start_ = copies(module_->buffers());
    gradients_.clear();
    statistics_.clear();
    samples_ = 0;
  }
  // The next shard, which begins with the round's buffers: the mean loss over its samples.
  void shard(std::int64_t samples, const std::function<at::Tensor()>& loss) {
    assign(module_->buffers(), start_);
    module_->zero_grad();
    loss().backward();
    Values gradient;
    for (const at::Tensor& p : module_->parameters()) gradient.push_back(p.grad());
    const auto weight = static_cast<float>(samples) / static_cast<float>(full_);
    gradients_.push_back(weighted(gradient, weight));
    statistics_.push_back(weighted(running_statistics(), weight));
    samples_ += samples;
  }
  void step(const Sgd& sgd) {
    const auto shards = static_cast<std::uint32_t>(gradients_.size());
    const auto factor =
        static_cast<float>(static_cast<double>(full_) / static_cast<double>(samples_));
    assign(running_statistics(), weighted(tree_sum(statistics_, 0, shards), factor));
    step_sgd(module_->parameters(), weighted(tree_sum(gradients_, 0, shards), factor), sgd,
             momentum_);
  }

 private:
  Values running_statistics() const {
    Values out;
    for (const at::Tensor& buffer : module_->buffers()) {
      if (buffer.is_floating_point()) out.push_back(buffer);
    }
    return out;
  }

  const std::shared_ptr<torch::nn::Module> module_;
  const std::int64_t full_;
  Values start_, momentum_;
  std::vector<Values> gradients_, statistics_;
  std::int64_t samples_ = 0;
};

}  // namespace instep::reference
