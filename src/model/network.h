// The model zoo: the networks that a job can name. Their parameters and buffers have the names that
// the same network has in PyTorch.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "base/result.h"
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
  // A batch's data -> outputs: [batch, outputs], or [batch, tokens, vocabulary] of a language
  // model.
  std::function<at::Tensor(const at::Tensor& x)> forward;
};

// Initialised from libtorch's default generator, so seed that first. `file`: where model.file lies
// on this host.
Result<Network> make_network(const job::Model& model, const std::filesystem::path& file);
inline Result<Network> make_network(const job::Model& model) {
  return make_network(model, model.file);
}

}  // namespace instep::model
