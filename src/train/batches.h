// Batches as tensors, out of a table.
#pragma once

#include <span>
#include <vector>

#include "data/dataset.h"
#include "instep/run.h"

namespace instep::train {

// The samples of these numbers; the batch's `samples` refers to the span.
Batch make_batch(const data::Table& table, std::span<const std::uint64_t> samples);

// Their data alone.
at::Tensor make_inputs(const data::Table& table, std::span<const std::uint64_t> samples);

// What the tensors of a batch of `samples` samples are.
struct BatchLayout {
  std::vector<std::int64_t> data, target;  // shapes
  at::ScalarType data_type = at::kFloat, target_type = at::kFloat;
};
BatchLayout layout_of(const data::Table& table, std::uint64_t samples);
// Fills the memory of such tensors; `target` may be null. Touches nothing of libtorch.
void fill_batch(const data::Table& table, std::span<const std::uint64_t> samples, void* data,
                void* target);

}  // namespace instep::train
