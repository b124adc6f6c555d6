#include "train/reading.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/softmax.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "data/dataset.h"
#include "store/checkpoint.h"
#include "store/safetensors.h"
#include "train/batches.h"
#include "train/fit.h"
#include "train/guarded.h"
#include "train/tensors.h"

namespace instep::train {
namespace {

void print_outputs(const job::Job& job, const at::Tensor& output) {
  at::Tensor values = output.flatten(1);
  if (job.loss == job::Loss::kCrossEntropy) values = at::softmax(values, 1);
  if (job.loss == job::Loss::kBce) values = values.sigmoid();
  values = values.to(at::kFloat).contiguous();
  const auto* at = values.const_data_ptr<float>();
  for (std::int64_t row = 0; row < values.size(0); ++row, at += values.size(1)) {
    if (job.loss == job::Loss::kCrossEntropy) {
      const auto best = std::max_element(at, at + values.size(1)) - at;
      std::printf("%td %.6f\n", best, static_cast<double>(at[best]));
      continue;
    }
    for (std::int64_t column = 0; column < values.size(1); ++column) {
      std::printf(column == 0 ? "%.9g" : " %.9g", static_cast<double>(at[column]));
    }
    std::printf("\n");
  }
}

void print_text(const at::Tensor& output, const at::Tensor& target) {
  namespace F = torch::nn::functional;
  const at::Tensor losses = F::cross_entropy(output.flatten(0, 1), target.flatten(),
                                             F::CrossEntropyFuncOptions().reduction(torch::kNone))
                                .view(target.sizes())
                                .to(at::kDouble)
                                .mean(1)
                                .contiguous();
  for (std::int64_t row = 0; row < losses.size(0); ++row) {
    const double loss = losses.const_data_ptr<double>()[row];
    std::printf("%.6f %.6f\n", loss, std::exp(loss));
  }
}

Status print_all(const job::Job& job, const model::Network& network, const data::Table& table) {
  const bool text = table.kind == data::Kind::kTokens;
  const std::vector<std::uint64_t> samples = data::first_samples(table.size);
  const auto step = static_cast<std::uint64_t>(job.eval_batch);
  for (std::uint64_t begin = 0; begin < table.size; begin += step) {
    const auto some = std::span(samples).subspan(begin, std::min(step, table.size - begin));
    if (text) {
      const Batch batch = make_batch(table, some);
      print_text(network.forward(batch.data), batch.target);
    } else {
      print_outputs(job, network.forward(make_inputs(table, some)));
    }
  }
  std::fflush(stdout);
  return {};
}

}  // namespace

Status load_weights(const model::Network& network, const std::filesystem::path& file) {
  INSTEP_ASSIGN_OR_RETURN(const auto weights, store::SafetensorsFile::open(file));
  return load_into(tensors_of(*network.module), weights, file);
}

Status load_averages(const model::Network& network, const std::filesystem::path& file) {
  INSTEP_ASSIGN_OR_RETURN(const auto state, store::SafetensorsFile::open(file));
  std::vector<model::NamedTensor> averaged;
  for (model::NamedTensor& item : tensors_of(*network.module)) {
    item.name = cat(item.name, ".", store::kAverageSuffix);
    if (state.find(item.name) != nullptr) averaged.push_back(std::move(item));
  }
  return load_into(averaged, state, file);
}

Status predict(const job::Job& job, const model::Network& network,
               const std::filesystem::path& input) {
  const std::int64_t elements = job.model.kind == "mlp" ? job.model.layers.front() : 0;
  INSTEP_ASSIGN_OR_RETURN(const data::Table table,
                          data::load_inputs(input, job.data, static_cast<std::uint64_t>(elements)));
  if (const Status fit = check_inputs(job, table); !fit.ok()) {
    return invalid(cat(input.string(), ": ", fit.error().message));
  }
  network.module->eval();
  const at::NoGradGuard guard;
  try {
    return print_all(job, network, table);
  } catch (const std::exception& error) {
    return invalid(
        cat(input.string(), ": the model does not take its samples: ", first_line(error)));
  }
}

}  // namespace instep::train
