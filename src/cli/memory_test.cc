#include <gtest/gtest.h>

#include "cli/commands.h"
#include "job/job.h"

namespace instep::cli {
namespace {

TEST(Memory, CountsWhatTheModelNeeds) {
  job::Job job;
  job.model.kind = "mlp";
  job.model.layers = {10, 5};
  job.batch = 8;
  job.shards = 8;
  job.eval_batch = 1;
  job.optimizer.kind = job::OptimizerKind::kAdam;
  EXPECT_EQ(model_parameters(job), 55);
  // Parameters twice, combined results, two moments; two gradients and one sample's activations.
  EXPECT_DOUBLE_EQ(memory_of(job).state, 4 * 55 * 5);
  EXPECT_DOUBLE_EQ(memory_of(job).per_agent, 4 * (2 * 55 + 3 * 15));
  EXPECT_DOUBLE_EQ(memory_of(job).total(2), 4 * 55 * 5 + 2 * 4 * (2 * 55 + 3 * 15));
}

// A network of convolutions or attention was taken for one without activations.
TEST(Memory, CountsWhatEachModelKeeps) {
  job::Job job;
  job.batch = 64;
  job.shards = 8;
  job.eval_batch = 1;
  job.model.kind = "resnet20";
  const double images = memory_of(job).per_agent;
  EXPECT_GT(images, 8 * 2e6);  // of 8 images, 2 MB each at the least
  EXPECT_LT(images, 8 * 5e6);
  job.accumulate = 4;
  EXPECT_LT(memory_of(job).per_agent, images / 3);
  job.accumulate = 1;
  job.eval_batch = 1000;
  EXPECT_GT(memory_of(job).per_agent, 2 * images);

  job.eval_batch = 1;
  job.model = {};
  job.model.kind = "gpt";
  job.model.layers = {4};
  const double tokens = memory_of(job).per_agent;
  job.model.context *= 2;
  EXPECT_GT(memory_of(job).per_agent, 1.5 * tokens);
  job.ema.decay = 0.9;
  const auto parameters = double(model_parameters(job));
  EXPECT_DOUBLE_EQ(memory_of(job).state, 4 * 4 * parameters);  // the average is one more

  job.model.kind = "lstm";
  const double steps = memory_of(job).per_agent;
  job.data.context = 16;
  EXPECT_LT(memory_of(job).per_agent, steps);
}

}  // namespace
}  // namespace instep::cli
