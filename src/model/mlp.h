// The model zoo's first member: fully connected layers with one activation between them, as torch's
// Sequential, so that Python's nn.Sequential loads its weights by the same names ("0.weight", …).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "job/job.h"

namespace torch::nn {
class Module;
}
namespace at {
class Tensor;
}

namespace instep::model {

struct Network {
  std::shared_ptr<torch::nn::Module> module;
  // [batch, inputs] (or more dimensions, which are flattened) -> [batch, outputs]
  at::Tensor forward(const at::Tensor& x) const;
};

// Initialised from libtorch's default generator, so seed that first.
Network make_mlp(const std::vector<std::int64_t>& layers, job::Activation activation);

// Mean loss of a batch. Cross-entropy takes class numbers, mse and bce floats (bce: on logits).
at::Tensor loss(job::Loss kind, const at::Tensor& output, const at::Tensor& target);
// How many of the batch are right (class of the largest output; bce: side of zero). -1: no such
// thing.
std::int64_t correct(job::Loss kind, const at::Tensor& output, const at::Tensor& target);

}  // namespace instep::model
