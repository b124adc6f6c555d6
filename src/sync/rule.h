// The update rules that owners know, read from the optimizer that a user shares: torch::optim's
// SGD, Adam and AdamW. With any other optimizer the combined gradient comes back and every replica
// steps for itself.
#pragma once

#include <vector>

#include "base/result.h"

namespace torch::optim {
class Optimizer;
}

namespace instep::sync {

enum class Rule { kSgd, kAdam, kAdamW, kReplica };

// The settings of one parameter group in one round.
struct GroupSettings {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0, beta1 = 0, beta2 = 0, eps = 0;
  bool nesterov = false;
};

// kReplica too for what the fused kernels here do not cover (amsgrad), and for subclasses.
Rule rule_of(torch::optim::Optimizer& optimizer);
// [groups]; empty for kReplica. Read anew every round, so a schedule may change them.
std::vector<GroupSettings> read_settings(torch::optim::Optimizer& optimizer, Rule rule);
// How many moments of the parameters' size a rule keeps: 0 to 2.
int moments(Rule rule, const std::vector<GroupSettings>& settings);

}  // namespace instep::sync
