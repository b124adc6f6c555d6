#include "train/batches.h"

#include <ATen/ops/empty.h>

namespace instep::train {

at::Tensor make_inputs(const data::Table& table, std::span<const std::uint64_t> samples) {
  std::vector<std::int64_t> shape = {static_cast<std::int64_t>(samples.size())};
  shape.insert(shape.end(), table.shape.begin(), table.shape.end());
  if (table.kind == data::Kind::kTokens) {
    at::Tensor tokens = at::empty(shape, at::kLong);
    data::gather_tokens(table, samples, tokens.mutable_data_ptr<std::int64_t>(), nullptr);
    return tokens;
  }
  at::Tensor data = at::empty(shape, at::kFloat);
  data::gather(table, samples, data.mutable_data_ptr<float>());
  return data;
}

Batch make_batch(const data::Table& table, std::span<const std::uint64_t> samples) {
  Batch batch;
  batch.samples = samples;
  if (table.kind == data::Kind::kTokens) {
    const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(samples.size()),
                                             table.shape.front()};
    batch.data = at::empty(shape, at::kLong);
    batch.target = at::empty(shape, at::kLong);
    data::gather_tokens(table, samples, batch.data.mutable_data_ptr<std::int64_t>(),
                        batch.target.mutable_data_ptr<std::int64_t>());
    return batch;
  }
  batch.data = make_inputs(table, samples);
  std::vector<std::int64_t> shape = {static_cast<std::int64_t>(samples.size())};
  if (table.classes != nullptr) {
    batch.target = at::empty(shape, at::kLong);
    data::gather_classes(table, samples, batch.target.mutable_data_ptr<std::int64_t>());
  } else {
    shape.push_back(table.target_width);
    batch.target = at::empty(shape, at::kFloat);
    data::gather_targets(table, samples, batch.target.mutable_data_ptr<float>());
  }
  return batch;
}

std::span<const std::int32_t> classes_of(const data::Table& table) {
  return table.classes == nullptr ? std::span<const std::int32_t>()
                                  : std::span(table.classes, table.size);
}

}  // namespace instep::train
