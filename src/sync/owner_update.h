// What owners do with a combined gradient: step the optimizer for their slice (FusedUpdate), or
// hand the gradient back to replicas that step for themselves (GradientUpdate).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "round/exchange.h"
#include "sync/rule.h"
#include "sync/state_memory.h"

namespace instep::sync {

// Elements of one unit of work: what an update touches of it stays in the L2 cache. A multiple of a
// block, and where units are cut changes no bit (FusedUpdateTest.CutsChangeNoBit).
inline constexpr std::uint64_t kUnitElements = 32 * reduce::kBlockElements;

// What both do with the units of carried values, which begin at element `carried`: their mean goes
// straight into the next state.
class StateUpdate : public round::Update {
 public:
  float* target(std::size_t unit) final;
  void apply(std::size_t unit, float factor) final;
  void carry(std::size_t unit) final;
  const float* standing(std::size_t unit) final;
  reduce::Residual residual(std::size_t node, std::size_t unit) final;

 protected:
  StateUpdate(const StateMemory& memory, std::vector<reduce::Range> units, std::uint64_t carried)
      : memory_(memory), units_(std::move(units)), carried_(carried) {}
  bool is_carried(std::size_t unit) const { return units_[unit].begin >= carried_; }
  virtual float* gradient(std::size_t unit) = 0;  // where the combined one goes
  virtual void step(std::size_t unit, float factor) = 0;

  // Before the state of a unit that is not stepped is used (step() sees to its own), and when the
  // next one stands.
  virtual void check(std::size_t unit) const { (void)unit; }
  virtual void stamp(std::size_t unit);

  const StateMemory& memory_;
  const std::vector<reduce::Range> units_;
  const std::uint64_t carried_;
  std::uint64_t round_ = 0;
};

// Called for a block that does not hold what was written there, before anything is made of it. Does
// not come back.
using Damage = std::function<void(std::uint64_t block)>;

// next = rule(current, combined gradient, moments), by libtorch's fused kernels (at::_fused_sgd_,
// …).
class FusedUpdate : public StateUpdate {
 public:
  // `average_decay` > 0: StateMemory::average() follows the parameters by it. What is stepped in
  // place is saved in `undo` before, which outlives it.
  FusedUpdate(const StateMemory& memory, const reduce::FlatSpace& space, std::uint64_t carried,
              std::vector<reduce::Range> units, Rule rule, double average_decay,
              round::UndoSlot& undo, Damage damage);
  ~FusedUpdate() override;

  // Before each round. `steps`: updates applied so far (0: the first is to come). `keep_combined`:
  // the gradient is needed after the combine (a verdict comes between). `want_change`: fill
  // change_sums.
  void prepare(std::uint64_t round, std::uint64_t steps, const std::vector<GroupSettings>& settings,
               bool keep_combined, bool want_change);

 private:
  struct Tensors;
  float* gradient(std::size_t unit) override;
  void step(std::size_t index, float factor) override;
  void check(std::size_t unit) const override;
  void stamp(std::size_t unit) override;
  void compare(std::uint64_t block, std::uint64_t found) const;

  round::UndoSlot& undo_;
  const Damage damage_;
  std::vector<std::size_t> group_;  // [unit]
  Rule rule_;
  float average_weight_;  // of the new parameters in their average; 0: none is kept
  std::unique_ptr<Tensors> tensors_;
  std::uint64_t steps_ = 0;
  std::vector<GroupSettings> settings_;
  bool keep_combined_ = false, want_change_ = false;
};

// The combined gradient stays in StateMemory::combined(), clipped if the job clips.
class GradientUpdate : public StateUpdate {
 public:
  GradientUpdate(const StateMemory& memory, std::uint64_t carried, std::vector<reduce::Range> units)
      : StateUpdate(memory, std::move(units), carried) {}
  void prepare(std::uint64_t round) { round_ = round; }

 private:
  float* gradient(std::size_t unit) override { return memory_.combined() + units_[unit].begin; }
  void step(std::size_t index, float factor) override;
};

}  // namespace instep::sync
