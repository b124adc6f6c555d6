// What a job needs of the machine's memory, as far as it can be told from its keys.
#include <algorithm>

#include "cli/commands.h"

namespace instep::cli {
namespace {

// Elements of one sample: what the forward pass keeps for the backward pass, gradients included,
// and what an evaluation, which keeps nothing, has at one time.
struct Activations {
  double kept = 0, passing = 0;
};

Activations mlp(const job::Job& job) {
  double width = 0;
  for (const std::int64_t units : job.model.layers) width += static_cast<double>(units);
  return {3 * width, width};
}

// Convolution, norm and sum of each layer; 16, 32 and 64 channels at full, half and quarter size.
Activations resnet20(const job::Job& job) {
  double pixels = 32.0 * 32.0;
  if (job.data.shape.size() == 3) {
    pixels = static_cast<double>(job.data.shape[1]) * static_cast<double>(job.data.shape[2]);
  }
  constexpr double kChannels = 16 + 6 * (16 + 32.0 / 4 + 64.0 / 16);
  return {3 * kChannels * pixels, 3 * 16 * pixels};
}

double tokens(const job::Job& job) {
  return static_cast<double>(job.data.context > 0 ? job.data.context : job.model.context);
}

double layers(const job::Job& job) {
  return job.model.layers.empty() ? 0 : static_cast<double>(job.model.layers.front());
}

// Of a token in a layer: two norms, queries, keys and values, the mix, and four widths within, each
// also behind its dropout or nonlinearity; and a row of attention a head.
Activations gpt(const job::Job& job) {
  constexpr double kWidths = 20;
  const auto width = static_cast<double>(job.model.width);
  const double length = tokens(job);
  const double rows = 2 * static_cast<double>(job.model.heads) * length;
  const double logits = 3 * static_cast<double>(job.model.vocabulary);
  const double layer = kWidths * width + rows;
  return {length * (layers(job) * layer + logits),
          length * (8 * width + rows / 2 + logits * 2 / 3)};
}

// Of a step in a layer: four gates, cell and output, and their gradients.
Activations lstm(const job::Job& job) {
  constexpr double kWidths = 12;
  const auto width = static_cast<double>(job.model.width);
  const bool reads_tokens = job.model.inputs == 0;
  const double steps = reads_tokens                ? tokens(job)
                       : job.data.shape.size() > 1 ? static_cast<double>(job.data.shape.front())
                                                   : 1;
  const double outputs = reads_tokens ? 3 * steps * static_cast<double>(job.model.vocabulary)
                                      : static_cast<double>(job.model.outputs);
  return {steps * layers(job) * kWidths * width + outputs, steps * 5 * width + outputs * 2 / 3};
}

Activations activations(const job::Job& job) {
  if (job.model.kind == "resnet20") return resnet20(job);
  if (job.model.kind == "gpt") return gpt(job);
  if (job.model.kind == "lstm") return lstm(job);
  return mlp(job);
}

}  // namespace

std::int64_t model_parameters(const job::Job& job) {
  job::Job plain = job;
  plain.optimizer = {};  // SGD without momentum has no state beside the parameters
  plain.ema = {};
  return job::parameter_count(plain);
}

Memory memory_of(const job::Job& job) {
  constexpr double kElement = sizeof(float);
  const auto parameters = static_cast<double>(model_parameters(job));
  const auto with_state = static_cast<double>(job::parameter_count(job));
  Memory out;
  // A second buffer of parameters and one of combined results stand beside the first.
  out.state = kElement * (with_state + 2 * parameters);
  if (job.codec.kind != job::CodecKind::kNone) {
    // Sums that a codec encodes apart wait apart; top-k keeps two buffers of each besides.
    const std::int64_t nodes = job::codec_nodes(job);
    const int sets = job.codec.kind == job::CodecKind::kTopK ? 3 : 1;
    out.state += kElement * sets * static_cast<double>(nodes) * parameters;
  }
  const std::int64_t parts = job.shards * std::max<std::int64_t>(1, job.accumulate);
  const std::int64_t at_once = (job.batch + parts - 1) / parts;
  const Activations sample = activations(job);
  const double most = std::max(static_cast<double>(at_once) * sample.kept,
                               static_cast<double>(job.eval_batch) * sample.passing);
  // The gradient that is computed and the sum that waits to be read.
  out.per_agent = kElement * (2 * parameters + most);
  return out;
}

}  // namespace instep::cli
