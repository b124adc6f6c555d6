// A module and its optimizer as a flat space: which parameter lies where. Parameters are ordered by
// the optimizer's groups, each group on blocks of its own.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "reduce/flat.h"

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace instep::model {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

struct Binding {
  std::vector<NamedTensor> parameters;  // trained, in flat order; places are space.tensors()
  std::vector<NamedTensor> frozen;      // parameters that no group trains, by name
  std::vector<NamedTensor> buffers;     // by name
  reduce::FlatSpace space;

  // Points every parameter at its place in `flat` ([space.elements()] floats).
  void point_at(float* flat) const;
};

// Refuses, naming the parameter: types other than fp32, devices other than the CPU, a parameter in
// two groups, one of the optimizer's that the module does not have, nothing to train.
Result<Binding> bind(torch::nn::Module& module, torch::optim::Optimizer& optimizer);

}  // namespace instep::model
