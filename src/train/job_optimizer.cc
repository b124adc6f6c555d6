#include "train/job_optimizer.h"

#include <torch/nn/module.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "base/text.h"

namespace instep::train {

using torch::optim::OptimizerParamGroup;

namespace {

// A group's options from the job's, with what [[optimizer.group]] says otherwise.
std::unique_ptr<torch::optim::OptimizerOptions> make_options(const job::Optimizer& spec,
                                                             const job::OptimizerGroup* group,
                                                             bool decays) {
  const double lr = group != nullptr && group->lr ? *group->lr : spec.lr;
  const double decay = group != nullptr && group->weight_decay ? *group->weight_decay
                       : decays                                ? spec.weight_decay
                                                               : 0;
  const double momentum = group != nullptr && group->momentum ? *group->momentum : spec.momentum;
  const auto betas = std::make_tuple(spec.beta1, spec.beta2);
  switch (spec.kind) {
    case job::OptimizerKind::kSgd:
      return std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(lr)
                                                            .momentum(momentum)
                                                            .dampening(spec.dampening)
                                                            .weight_decay(decay)
                                                            .nesterov(spec.nesterov));
    case job::OptimizerKind::kAdam:
      return std::make_unique<torch::optim::AdamOptions>(
          torch::optim::AdamOptions(lr).betas(betas).eps(spec.eps).weight_decay(decay));
    case job::OptimizerKind::kAdamW:
      return std::make_unique<torch::optim::AdamWOptions>(
          torch::optim::AdamWOptions(lr).betas(betas).eps(spec.eps).weight_decay(decay));
  }
  return nullptr;
}

// The first group whose pattern matches a parameter's name has it; the rest is one group of its
// own. Where weight decay spares biases and norms, these follow as a group of their own.
std::vector<OptimizerParamGroup> make_groups(torch::nn::Module& module,
                                             const job::Optimizer& spec) {
  struct Members {
    std::vector<at::Tensor> decayed, spared;
  };
  std::vector<Members> members(spec.groups.size() + 1);
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad()) continue;  // frozen, as a TorchScript module may bring it
    std::size_t group = 0;
    while (group < spec.groups.size() && !matches(spec.groups[group].match, item.key())) ++group;
    const bool own_decay = group < spec.groups.size() && spec.groups[group].weight_decay;
    const bool spared = spec.decay == job::Decay::kWeights && spec.weight_decay > 0 && !own_decay &&
                        item.value().dim() < 2;
    (spared ? members[group].spared : members[group].decayed).push_back(item.value());
  }
  std::vector<OptimizerParamGroup> groups;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const job::OptimizerGroup* group = i < spec.groups.size() ? &spec.groups[i] : nullptr;
    if (!members[i].decayed.empty()) {
      groups.emplace_back(members[i].decayed, make_options(spec, group, true));
    }
    if (!members[i].spared.empty()) {
      groups.emplace_back(members[i].spared, make_options(spec, group, false));
    }
  }
  return groups;
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const job::Optimizer& spec) {
  std::vector<OptimizerParamGroup> groups = make_groups(module, spec);
  switch (spec.kind) {
    case job::OptimizerKind::kSgd:
      return std::make_unique<torch::optim::SGD>(std::move(groups),
                                                 torch::optim::SGDOptions(spec.lr));
    case job::OptimizerKind::kAdam:
      return std::make_unique<torch::optim::Adam>(std::move(groups));
    case job::OptimizerKind::kAdamW:
      return std::make_unique<torch::optim::AdamW>(std::move(groups));
  }
  return nullptr;
}

}  // namespace instep::train
