#include "train/batches.h"

#include <ATen/ops/empty.h>

namespace instep::train {

BatchLayout layout_of(const data::Table& table, std::uint64_t samples) {
  BatchLayout out;
  out.data = {static_cast<std::int64_t>(samples)};
  out.target = out.data;
  out.data.insert(out.data.end(), table.shape.begin(), table.shape.end());
  if (table.kind == data::Kind::kTokens) {
    out.target = out.data;
    out.data_type = at::kLong;
    out.target_type = at::kLong;
  } else if (table.classes != nullptr) {
    out.target_type = at::kLong;
  } else {
    out.target.push_back(table.target_width);
  }
  return out;
}

void fill_batch(const data::Table& table, std::span<const std::uint64_t> samples, void* data,
                void* target) {
  if (table.kind == data::Kind::kTokens) {
    data::gather_tokens(table, samples, static_cast<std::int64_t*>(data),
                        static_cast<std::int64_t*>(target));
    return;
  }
  data::gather(table, samples, static_cast<float*>(data));
  if (target == nullptr) return;
  if (table.classes != nullptr) {
    data::gather_classes(table, samples, static_cast<std::int64_t*>(target));
  } else {
    data::gather_targets(table, samples, static_cast<float*>(target));
  }
}

at::Tensor make_inputs(const data::Table& table, std::span<const std::uint64_t> samples) {
  const BatchLayout layout = layout_of(table, samples.size());
  at::Tensor data = at::empty(layout.data, layout.data_type);
  fill_batch(table, samples, data.mutable_data_ptr(), nullptr);
  return data;
}

Batch make_batch(const data::Table& table, std::span<const std::uint64_t> samples) {
  const BatchLayout layout = layout_of(table, samples.size());
  Batch batch;
  batch.samples = samples;
  batch.data = at::empty(layout.data, layout.data_type);
  batch.target = at::empty(layout.target, layout.target_type);
  fill_batch(table, samples, batch.data.mutable_data_ptr(), batch.target.mutable_data_ptr());
  return batch;
}

}  // namespace instep::train
