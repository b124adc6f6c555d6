#include "sync/rule.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <typeinfo>

namespace instep::sync {
namespace {

// Adam's and AdamW's options have the same names without a common base.
template <class Options>
GroupSettings adam_settings(const Options& options) {
  GroupSettings settings;
  settings.lr = options.lr();
  settings.beta1 = std::get<0>(options.betas());
  settings.beta2 = std::get<1>(options.betas());
  settings.eps = options.eps();
  settings.weight_decay = options.weight_decay();
  return settings;
}

template <class Options>
bool any_amsgrad(torch::optim::Optimizer& optimizer) {
  auto& groups = optimizer.param_groups();
  return std::any_of(groups.begin(), groups.end(), [](torch::optim::OptimizerParamGroup& group) {
    return static_cast<const Options&>(group.options()).amsgrad();
  });
}

}  // namespace

Rule rule_of(torch::optim::Optimizer& optimizer) {
  const std::type_info& type = typeid(optimizer);
  if (type == typeid(torch::optim::SGD)) return Rule::kSgd;
  if (type == typeid(torch::optim::Adam)) {
    return any_amsgrad<torch::optim::AdamOptions>(optimizer) ? Rule::kReplica : Rule::kAdam;
  }
  if (type == typeid(torch::optim::AdamW)) {
    return any_amsgrad<torch::optim::AdamWOptions>(optimizer) ? Rule::kReplica : Rule::kAdamW;
  }
  return Rule::kReplica;
}

std::vector<GroupSettings> read_settings(torch::optim::Optimizer& optimizer, Rule rule) {
  std::vector<GroupSettings> all;
  if (rule == Rule::kReplica) return all;
  for (auto& group : optimizer.param_groups()) {
    if (rule == Rule::kAdam) {
      all.push_back(adam_settings(static_cast<const torch::optim::AdamOptions&>(group.options())));
    } else if (rule == Rule::kAdamW) {
      all.push_back(adam_settings(static_cast<const torch::optim::AdamWOptions&>(group.options())));
    } else {
      const auto& options = static_cast<const torch::optim::SGDOptions&>(group.options());
      GroupSettings settings;
      settings.lr = options.lr();
      settings.momentum = options.momentum();
      settings.dampening = options.dampening();
      settings.weight_decay = options.weight_decay();
      settings.nesterov = options.nesterov();
      all.push_back(settings);
    }
  }
  return all;
}

int moments(Rule rule, const std::vector<GroupSettings>& settings) {
  if (rule == Rule::kAdam || rule == Rule::kAdamW) return 2;
  const bool momentum = std::any_of(settings.begin(), settings.end(),
                                    [](const GroupSettings& group) { return group.momentum != 0; });
  return momentum ? 1 : 0;
}

}  // namespace instep::sync
