// How large the job's model is, without libtorch.
#include <algorithm>

#include "job/job.h"

namespace instep::job {
namespace {

std::int64_t mlp(const Model& model) {
  std::int64_t count = 0;
  for (std::size_t i = 1; i < model.layers.size(); ++i) {
    count += (model.layers[i - 1] + 1) * model.layers[i];
  }
  return count;
}

// A first convolution, then three stages of six at 16, 32 and 64 channels; each with a norm.
std::int64_t resnet20(const Model& model) {
  constexpr std::int64_t kTaps = 9;
  std::int64_t count = kTaps * model.channels * 16 + 2 * 16;
  std::int64_t before = 16;
  for (const std::int64_t channels : {16, 32, 64}) {
    count += kTaps * channels * (before + 5 * channels) + 6 * 2 * channels;
    before = channels;
  }
  return count + (before + 1) * model.outputs;
}

std::int64_t gpt(const Model& model) {
  const std::int64_t width = model.width;
  const std::int64_t layer = 12 * width * width + 13 * width;
  return (2 * model.vocabulary + model.context + 2) * width + model.layers.front() * layer;
}

std::int64_t lstm(const Model& model) {
  const std::int64_t width = model.width;
  const bool tokens = model.inputs == 0;
  std::int64_t in = tokens ? width : model.inputs;
  std::int64_t count = tokens ? model.vocabulary * width : 0;
  for (std::int64_t layer = 0; layer < model.layers.front(); ++layer, in = width) {
    count += 4 * width * (in + width + 2);
  }
  return count + (width + 1) * (tokens ? model.vocabulary : model.outputs);
}

std::int64_t model_parameters(const Model& model) {
  if (model.kind == "mlp") return mlp(model);
  if (model.kind == "resnet20") return resnet20(model);
  if (model.layers.empty()) return 0;
  if (model.kind == "gpt") return gpt(model);
  if (model.kind == "lstm") return lstm(model);
  return 0;
}

}  // namespace

std::int64_t codec_nodes(const Job& job) {
  return job.codec.nodes == 0 ? job.shards : job.codec.nodes;
}

std::int64_t parameter_count(const Job& job) {
  const std::int64_t parameters = model_parameters(job.model);
  const std::int64_t average = job.ema.decay > 0 ? parameters : 0;
  const Optimizer& optimizer = job.optimizer;
  if (optimizer.kind != OptimizerKind::kSgd) return parameters * 3 + average;
  const bool momentum =
      optimizer.momentum > 0 ||
      std::any_of(optimizer.groups.begin(), optimizer.groups.end(),
                  [](const OptimizerGroup& group) { return group.momentum.value_or(0) > 0; });
  return (momentum ? parameters * 2 : parameters) + average;
}

}  // namespace instep::job
