// Trying a model on the data's samples leaves no trace: what a run computes does not depend on it.
#include "train/fit.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include <memory>
#include <vector>

namespace instep::train {
namespace {

data::Table five_samples() {
  auto values = std::make_shared<std::vector<float>>(5 * 4, 0.5F);
  auto targets = std::make_shared<std::vector<float>>(5, 1.0F);
  data::Table table;
  table.size = 5;
  table.shape = {4};
  table.values = reinterpret_cast<const std::byte*>(values->data());
  table.targets = targets->data();
  table.target_width = 1;
  table.keep = std::make_shared<std::pair<decltype(values), decltype(targets)>>(values, targets);
  return table;
}

TEST(FitTest, ATryLeavesNoTrace) {
  torch::nn::Sequential layers(torch::nn::Linear(4, 3), torch::nn::BatchNorm1d(3),
                               torch::nn::Linear(3, 1));
  bool was_training = true;
  const model::Network network{layers.ptr(), [&](const at::Tensor& x) mutable {
                                 was_training = layers->is_training();
                                 // A module may draw, and write into a buffer, in eval mode too.
                                 for (auto& item : layers->named_buffers()) item.value().add_(1);
                                 at::dropout(x, 0.5, true);
                                 return layers->forward(x);
                               }};
  job::Job job;
  job.loss = job::Loss::kMse;
  std::vector<at::Tensor> before;
  for (const at::Tensor& buffer : layers->buffers()) before.push_back(buffer.clone());
  const at::Tensor state = at::detail::getDefaultCPUGenerator().get_state();
  const Status tried = try_network(job, five_samples(), network);
  ASSERT_TRUE(tried.ok()) << tried.error().message;
  EXPECT_FALSE(was_training);
  EXPECT_TRUE(layers->is_training());
  EXPECT_TRUE(at::equal(state, at::detail::getDefaultCPUGenerator().get_state()));
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(at::equal(before[i], layers->buffers()[i])) << i;
  }
}

}  // namespace
}  // namespace instep::train
