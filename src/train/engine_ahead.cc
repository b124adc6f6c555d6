// The next round's first forward pass, begun while the other hosts' sums of this round come: an op
// that reads parameters waits until they are stepped, and steps what has come meanwhile. Sums come
// in the order of the flat space, which is that of a forward pass.
//
// Nobody else sees any of it: what is said of the round and when is the turn's, as ever.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "base/failpoint.h"
#include "base/random.h"
#include "model/read_gate.h"
#include "train/engine.h"

namespace instep::train {

using round::Turn;

// A round with a verdict steps nothing before all of its sums are here; neither does an optimizer
// that replicas step. What shards carry comes last.
bool Engine::may_begin_ahead() const {
  return setup_.hosted && work_->next && binding_.space.elements() >= kOpenElements &&
         !replicas_step() && job_.optimizer.clip_norm == 0 && binding_.carried.empty() &&
         !my_shards_.empty();
}

Result<Turn::Step> Engine::run_turn() {
  const auto waits_for_sums = [this](Turn::Step step) {
    return step == Turn::Step::kWaitWord && turn_.phase() == Turn::Phase::kExchange &&
           may_begin_ahead();
  };
  auto step = runner_.run(turn_, waits_for_sums);
  if (!step.ok() || *step != Turn::Step::kWaitWord) return step;
  if (auto ended = begin_ahead()) return *std::move(ended);
  return runner_.run(turn_);
}

// What the turn came to meanwhile, if it did.
std::optional<Result<Turn::Step>> Engine::begin_ahead() {
  const ShardWork next = work_->next();
  const std::uint32_t shard = my_shards_.front();
  const std::uint32_t samples = next.samples(shard);
  if (samples == 0) return std::nullopt;
  ahead_ = Ahead{round_ + 1, shard, {}, false, {}};
  failpoint("ahead.begin");
  next.begin(my_shards_);
  float* const parameters = memory_->parameters(round_ + 1);
  binding_.point_at(parameters);
  at::manual_seed(mix(job_.seed, shard, round_ + 1));
  {
    const model::ReadGate gate(parameters, binding_.space.elements(),
                               [this](const reduce::Range& range) { go_on_until_there(range); });
    ahead_->loss = forward(next, shard, 0, samples);
  }
  failpoint("ahead.over");
  auto ended = std::exchange(ahead_->ended, std::nullopt);
  if (ahead_->spoilt) drop_ahead();
  return ended;
}

// What the op makes of parameters that are not there is dropped.
void Engine::go_on_until_there(const reduce::Range& range) {
  beat();
  if (ahead_->spoilt || ahead_->ended) return;
  failpoint("ahead.waits");
  // The op's own modes are not the update's.
  const at::NoGradGuard no_grad;
  const c10::impl::ForceDispatchKeyGuard plain{c10::impl::PODLocalDispatchKeySet()};
  const auto in_exchange = [this] { return turn_.phase() == Turn::Phase::kExchange; };
  const auto there = [this, &range, in_exchange](Turn::Step step) {
    return !in_exchange() ||
           (step == Turn::Step::kWaitWord && round::stamped(memory_->stamps(), range, round_));
  };
  auto step = runner_.run(turn_, there);
  const bool over = step.ok() && *step == Turn::Step::kDone;
  const bool goes_on = step.ok() && *step != Turn::Step::kDone && in_exchange();
  ahead_->spoilt = !over && !goes_on;
  if (!step.ok() || over) ahead_->ended = std::move(step);
}

void Engine::drop_ahead() {
  if (!ahead_) return;
  ahead_.reset();
  binding_.point_at(memory_->parameters(round_));
}

// Undefined where it was not begun.
at::Tensor Engine::take_ahead(std::uint32_t shard) {
  if (!ahead_) return {};
  const Ahead taken = *std::exchange(ahead_, std::nullopt);
  return taken.round == round_ && taken.shard == shard ? taken.loss : at::Tensor();
}

}  // namespace instep::train
