#include "sync/owner_update.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <array>
#include <cstring>

#include "base/failpoint.h"
#include "reduce/kernels.h"

namespace instep::sync {

using reduce::kBlockElements;
using reduce::Range;

// Views of the shared state by unit, made once: making them anew costs more than a small unit's
// update.
struct FusedUpdate::Tensors {
  struct Unit {
    at::Tensor parameters[2], combined, scratch;
    std::vector<at::Tensor> moment[2];
  };
  std::vector<Unit> units;
  at::Tensor scratch;  // the combined gradient of the unit under way
  std::vector<at::Tensor> step;
};

float* StateUpdate::target(std::size_t unit) {
  if (!is_carried(unit)) return gradient(unit);
  return memory_.parameters(round_ + 1) + units_[unit].begin;
}

const float* StateUpdate::standing(std::size_t unit) {
  return memory_.parameters(round_) + units_[unit].begin;
}

reduce::Residual StateUpdate::residual(std::size_t node, std::size_t unit) {
  if (node >= memory_.residuals()) return {};
  const std::uint64_t begin = units_[unit].begin;
  return {memory_.residual(round_, node) + begin, memory_.residual(round_ + 1, node) + begin};
}

void StateUpdate::apply(std::size_t unit, float factor) {
  if (is_carried(unit)) {
    check(unit);
  } else {
    step(unit, factor);
  }
  failpoint("update.done");
  stamp(unit);
  failpoint("update.stamped");
}

void StateUpdate::stamp(std::size_t unit) {
  round::set_stamps(memory_.stamps(), units_[unit], round_);
}

void StateUpdate::carry(std::size_t unit) {
  check(unit);
  const Range& range = units_[unit];
  std::memcpy(memory_.parameters(round_ + 1) + range.begin, standing(unit),
              range.count * sizeof(float));
  for (std::size_t node = 0; node < memory_.residuals(); ++node) {
    const reduce::Residual kept = residual(node, unit);
    std::memcpy(kept.next, kept.standing, range.count * sizeof(float));
  }
  stamp(unit);
}

FusedUpdate::FusedUpdate(const StateMemory& memory, const reduce::FlatSpace& space,
                         std::uint64_t carried, std::vector<Range> units, Rule rule,
                         double average_decay, round::UndoSlot& undo, Damage damage)
    : StateUpdate(memory, std::move(units), carried),
      undo_(undo),
      damage_(std::move(damage)),
      rule_(rule),
      average_weight_(average_decay > 0 ? static_cast<float>(1 - average_decay) : 0),
      tensors_(std::make_unique<Tensors>()) {
  const c10::InferenceMode guard;
  std::uint64_t most = 0;
  for (const Range& unit : units_) most = std::max(most, unit.count);
  tensors_->scratch = at::zeros({static_cast<std::int64_t>(most)}, at::kFloat);
  tensors_->step = {at::scalar_tensor(0, at::kFloat)};
  const auto view = [](float* at, const Range& unit) {
    return at::from_blob(at + unit.begin, {static_cast<std::int64_t>(unit.count)}, at::kFloat);
  };
  for (std::size_t index = 0; index < units_.size(); ++index) {
    const Range& unit = units_[index];
    Tensors::Unit& made = tensors_->units.emplace_back();
    made.parameters[0] = view(memory_.parameters(0), unit);
    made.parameters[1] = view(memory_.parameters(1), unit);
    made.combined = view(memory_.combined(), unit);
    made.scratch = tensors_->scratch.narrow(0, 0, static_cast<std::int64_t>(unit.count));
    for (int moment = 0; moment < memory_.moments(); ++moment) {
      made.moment[moment] = {view(memory_.moment(moment), unit)};
    }
    std::size_t group = 0;
    while (space.groups()[group].end() <= unit.begin) ++group;
    group_.push_back(group);
    // No optimizer's group is over carried values.
    if (is_carried(index)) group_.back() = 0;
  }
}

FusedUpdate::~FusedUpdate() = default;

void FusedUpdate::check(std::size_t unit) const {
  const Range& range = units_[unit];
  for (std::uint64_t at = range.begin; at < range.end(); at += kBlockElements) {
    const std::uint64_t block = at / kBlockElements;
    compare(block, memory_.check_of(block, round_));
  }
}

void FusedUpdate::compare(std::uint64_t block, std::uint64_t found) const {
  if (found != memory_.checks(round_)[block]) damage_(block);
}

void FusedUpdate::stamp(std::size_t unit) {
  const Range& range = units_[unit];
  for (std::uint64_t at = range.begin; at < range.end(); at += kBlockElements) {
    const std::uint64_t block = at / kBlockElements;
    memory_.checks(round_ + 1)[block] = memory_.check_of(block, round_ + 1);
  }
  StateUpdate::stamp(unit);
}

void FusedUpdate::prepare(std::uint64_t round, std::uint64_t steps,
                          const std::vector<GroupSettings>& settings, bool keep_combined,
                          bool want_change) {
  for (const std::size_t group : group_) {
    INSTEP_CHECK(group < settings.size(), "every group has settings");
  }
  round_ = round;
  steps_ = steps;
  settings_ = settings;
  keep_combined_ = keep_combined;
  want_change_ = want_change;
  *tensors_->step[0].mutable_data_ptr<float>() = static_cast<float>(steps + 1);
}

float* FusedUpdate::gradient(std::size_t unit) {
  return keep_combined_ ? memory_.combined() + units_[unit].begin
                        : tensors_->scratch.mutable_data_ptr<float>();
}

void FusedUpdate::step(std::size_t index, float factor) {
  const c10::InferenceMode guard;
  const Range& unit = units_[index];
  const GroupSettings& group = settings_[group_[index]];
  Tensors::Unit& tensors = tensors_->units[index];
  float* gradient_at = gradient(index);
  if (factor != 1.0F) reduce::scale(gradient_at, factor, unit.count);

  const float* current = memory_.parameters(round_) + unit.begin;
  float* next = memory_.parameters(round_ + 1) + unit.begin;
  // Summed while it is copied and saved: one more pass over the same memory is felt.
  std::array<std::uint64_t, kUnitElements / kBlockElements> checks;
  for (std::uint64_t at = 0; at < unit.count; at += kBlockElements) {
    checks[at / kBlockElements] =
        reduce::copy_and_sum_bits(next + at, current + at, kBlockElements);
  }
  failpoint("update.begin");
  undo_.save(unit, round_, checks);
  failpoint("update.saved");
  for (std::uint64_t at = 0; at < unit.count; at += kBlockElements) {
    const std::uint64_t block = (unit.begin + at) / kBlockElements;
    compare(block, checks[at / kBlockElements] + memory_.residuals_check_of(block, round_));
  }
  const at::TensorList parameters(&tensors.parameters[(round_ + 1) & 1], 1);
  const at::TensorList gradients(keep_combined_ ? &tensors.combined : &tensors.scratch, 1);
  switch (rule_) {
    case Rule::kSgd: {
      const at::TensorList momentum =
          group.momentum != 0 ? at::TensorList(tensors.moment[0]) : at::TensorList();
      at::_fused_sgd_(parameters, gradients, momentum, group.weight_decay, group.momentum, group.lr,
                      group.dampening, group.nesterov, false, steps_ == 0);
      break;
    }
    case Rule::kAdam:
      at::_fused_adam_(parameters, gradients, tensors.moment[0], tensors.moment[1], {},
                       tensors_->step, group.lr, group.beta1, group.beta2, group.weight_decay,
                       group.eps, false, false);
      break;
    case Rule::kAdamW:
      at::_fused_adamw_(parameters, gradients, tensors.moment[0], tensors.moment[1], {},
                        tensors_->step, group.lr, group.beta1, group.beta2, group.weight_decay,
                        group.eps, false, false);
      break;
    case Rule::kReplica:
      INSTEP_CHECK(false, "owners know the rule that they apply");
  }
  failpoint("update.stepped");
  if (average_weight_ > 0) {
    reduce::blend(memory_.average() + unit.begin, next, average_weight_, unit.count);
    failpoint("update.averaged");
  }
  if (!want_change_) return;
  for (std::uint64_t at = 0; at < unit.count; at += kBlockElements) {
    memory_.change_sums()[(unit.begin + at) / kBlockElements] =
        reduce::sum_of_squared_differences(next + at, current + at, kBlockElements);
  }
}

void GradientUpdate::step(std::size_t index, float factor) {
  if (factor != 1.0F) reduce::scale(gradient(index), factor, units_[index].count);
}

}  // namespace instep::sync
