// Batches as tensors, out of a table.
#pragma once

#include <span>

#include "data/dataset.h"
#include "instep/run.h"

namespace instep::train {

// The samples of these numbers; the batch's `samples` refers to the span.
Batch make_batch(const data::Table& table, std::span<const std::uint64_t> samples);

// Their data alone.
at::Tensor make_inputs(const data::Table& table, std::span<const std::uint64_t> samples);

// The table's classes by sample; empty if its targets are none.
std::span<const std::int32_t> classes_of(const data::Table& table);

}  // namespace instep::train
