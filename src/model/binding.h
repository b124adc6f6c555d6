// A module and its optimizer as a flat space: which parameter lies where. Parameters are ordered by
// the optimizer's groups, each group on blocks of its own; behind them, on blocks of their own too,
// the buffers that shards carry from round to round.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/carried.h"
#include "model/named_tensor.h"
#include "reduce/flat.h"

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace instep::model {

struct Binding {
  // Trained, in flat order; parameter i lies at space.tensors()[i].
  std::vector<NamedTensor> parameters;
  std::vector<NamedTensor> frozen;   // parameters that no group trains, by name
  std::vector<NamedTensor> buffers;  // by name
  Carried carried;                   // of them; if any, the last of space.tensors()
  reduce::FlatSpace space;

  // Where the carried buffers begin in the flat space; its end where there are none.
  std::uint64_t carried_begin() const {
    return carried.empty() ? space.elements() : space.tensors().back().begin;
  }

  // Points every parameter at its place in `flat` ([space.elements()] floats).
  void point_at(float* flat) const;
};

// Refuses, naming the parameter: types other than fp32, devices other than the CPU, a parameter in
// two groups, one of the optimizer's that the module does not have, nothing to train.
Result<Binding> bind(torch::nn::Module& module, torch::optim::Optimizer& optimizer);

}  // namespace instep::model
