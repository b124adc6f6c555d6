#include "model/loss.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace instep::model {
namespace {

TEST(LossTest, HuberIsQuadraticAndThenLinear) {
  job::Job job;
  job.loss = job::Loss::kHuber;
  const at::Tensor output = at::tensor({0.5F, 3.0F}).view({2, 1});
  const at::Tensor target = at::tensor({0.0F, 0.0F}).view({2, 1});
  EXPECT_FLOAT_EQ(loss(job, output, target).item<float>(), (0.125F + 2.5F) / 2);
  job.huber_delta = 2;
  EXPECT_FLOAT_EQ(loss(job, output, target).item<float>(), (0.125F + 4.0F) / 2);
}

TEST(LossTest, LabelSmoothingSharesAPartOfTheTarget) {
  job::Job job;
  job.label_smoothing = 0.3;
  const at::Tensor output = at::tensor({2.0F, 0.0F, 1.0F}).view({1, 3});
  const double log_sum = std::log(std::exp(2.0) + 1 + std::exp(1.0));
  const double due = 0.7 * (log_sum - 2) + 0.3 * (log_sum - (2.0 + 0 + 1) / 3);
  const at::Tensor target = at::tensor({std::int64_t{0}});
  EXPECT_NEAR(loss(job, output, target).item<double>(), due, 1e-6);
}

TEST(LossTest, TokensAreSamples) {
  const job::Job job;
  const at::Tensor output = at::tensor({2.0F, 0.0F, 1.0F, 0.5F, 0.1F, 0.2F}).view({1, 2, 3});
  const at::Tensor target = at::tensor({std::int64_t{0}, std::int64_t{2}}).view({1, 2});
  EXPECT_FLOAT_EQ(loss(job, output, target).item<float>(),
                  loss(job, output.view({2, 3}), target.view({2})).item<float>());
}

}  // namespace
}  // namespace instep::model
