// What the training benches train: a network of the zoo (plain torch modules), its optimizer, and a
// synthetic batch that lies in memory before the clock starts.
//
// mnist: 784-64-10, Adam. wide: 1024-4096-4096-1000, SGD; 25 million parameters. resnet20: images
// of 3x32x32, SGD with Nesterov momentum. gpt: four layers of 256, 128 tokens a sample, AdamW.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/network.h"

namespace torch::optim {
class Optimizer;
}

namespace instep::bench {

struct Workload {
  job::Job job;
  model::Network network;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  at::Tensor data, target;

  at::Tensor loss() const;
};

bool known(const std::string& name);
// `samples` in a batch. Draws from libtorch's default generator.
Workload make_workload(const std::string& name, std::int64_t samples);

}  // namespace instep::bench
