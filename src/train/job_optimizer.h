// The optimizer that a job names, over a module's parameters in the job's groups.
#pragma once

#include <memory>

#include "job/job.h"

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace instep::train {

// With optimizer.decay = "weights" weight_decay acts on parameters of two and more dimensions only;
// a group that names its own weight_decay decays all that it matches.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const job::Optimizer& spec);

}  // namespace instep::train
