// A module's tensor and its name there.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace instep::model {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

}  // namespace instep::model
