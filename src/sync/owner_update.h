// What owners do with a combined gradient: step the optimizer for their slice (FusedUpdate), or
// hand the gradient back to replicas that step for themselves (GradientUpdate).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "round/exchange.h"
#include "sync/rule.h"
#include "sync/state_memory.h"

namespace instep::sync {

// Elements of one unit of work: what an update touches of it stays in the L2 cache. A multiple of a
// block, and where units are cut changes no bit (FusedUpdateTest.CutsChangeNoBit).
inline constexpr std::uint64_t kUnitElements = 32 * reduce::kBlockElements;

// next = rule(current, combined gradient, moments), by libtorch's fused kernels (at::_fused_sgd_,
// …).
class FusedUpdate : public round::Update {
 public:
  FusedUpdate(const StateMemory& memory, const reduce::FlatSpace& space,
              std::vector<reduce::Range> units, Rule rule);
  ~FusedUpdate() override;

  // Before each round. `steps`: updates applied so far (0: the first is to come). `keep_combined`:
  // the gradient is needed after the combine (a verdict comes between). `want_change`: fill
  // change_sums.
  void prepare(std::uint64_t round, std::uint64_t steps, const std::vector<GroupSettings>& settings,
               bool keep_combined, bool want_change);

  float* target(std::size_t unit) override;
  void apply(std::size_t index, float factor) override;
  void carry(std::size_t index) override;

 private:
  struct Tensors;
  const StateMemory& memory_;
  std::vector<reduce::Range> units_;
  std::vector<std::size_t> group_;  // [unit]
  Rule rule_;
  std::unique_ptr<Tensors> tensors_;
  std::uint64_t round_ = 0, steps_ = 0;
  std::vector<GroupSettings> settings_;
  bool keep_combined_ = false, want_change_ = false;
};

// The combined gradient stays in StateMemory::combined(), clipped if the job clips.
class GradientUpdate : public round::Update {
 public:
  GradientUpdate(const StateMemory& memory, std::vector<reduce::Range> units)
      : memory_(memory), units_(std::move(units)) {}
  float* target(std::size_t unit) override { return memory_.combined() + units_[unit].begin; }
  void apply(std::size_t index, float factor) override;
  void carry(std::size_t /*unit*/) override {}

 private:
  const StateMemory& memory_;
  std::vector<reduce::Range> units_;
};

}  // namespace instep::sync
