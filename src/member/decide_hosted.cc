// Which shards are this host's: all of them, or where hosts train together those that it is told.
#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "member/step.h"

namespace instep::member {
bool Step::has_shards(const std::vector<std::uint32_t>& shards) const {
  const auto& ready = state_.first_ready;
  return !shards.empty() && (!ready || shards.back() < ready->second.shards) &&
         std::adjacent_find(shards.begin(), shards.end(), std::greater_equal<>()) == shards.end();
}

std::uint32_t Step::shards() const {
  return state_.mine ? static_cast<std::uint32_t>(state_.mine->size())
                     : state_.first_ready->second.shards;
}

View Step::assigned(Epoch epoch, Op first_op, const std::vector<AgentId>& agents) const {
  const wire::Ready& ready = state_.first_ready->second;
  return assign(epoch, first_op, agents, ready.shards, ready.blocks, owners(),
                std::max(1U, ready.servers), state_.mine ? &*state_.mine : nullptr);
}

// A host may have fewer shards than the run wants agents.
std::uint32_t Step::least_members() const {
  return state_.mine ? std::min(state_.rules.min_agents, shards()) : state_.rules.min_agents;
}

// Whether some members have two shards more than others, as they may when shards went elsewhere.
bool Step::uneven() const {
  if (!state_.mine) return false;
  std::map<AgentId, std::uint32_t> load;
  for (const AgentId member : state_.view->members) load[member] = 0;
  for (const AgentId agent : state_.view->shard_agent) {
    if (agent != kElsewhere) ++load[agent];
  }
  const auto [least, most] = std::minmax_element(
      load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return most->second - least->second > 1;
}

void Step::on(Adopted& event) {
  if (ending() || state_.phase == Phase::kLeaving) return;
  if (!state_.rules.hosted || !has_shards(event.shards)) {
    return fail(failure(Reason::kLauncher,
                        {ErrorKind::kInternal, "this host was given shards that it cannot have"}));
  }
  state_.mine = std::move(event.shards);
  if (!training()) return;  // the first view will be of these
  state_.adopted = event.round;
  state_.anew = state_.anew || event.anew;
}

// All members hear of it at once: what comes of the round waits for the host's sums of just these
// shards, so nobody is past it before.
void Step::adopt_if_due() {
  if (!state_.adopted || state_.restart) return;
  const Op op = round_op(*state_.adopted);
  // Before the round of a planned view everybody is under the one before it.
  const bool undone = state_.before && op < round_op(state_.before_round);
  const View base = undone ? *state_.before : *state_.view;
  // Others may pass the round that newcomers come in with before they hear of us: the view that
  // says how those come in stands until they are in.
  if (no_later(base, op) < op) return;
  state_.adopted.reset();
  const bool over = std::any_of(base.members.begin(), base.members.end(),
                                [this](AgentId member) { return life(member).report.has_value(); });
  const bool anew = std::exchange(state_.anew, false);
  if (over || (!anew && shards_here(*state_.view) == *state_.mine)) return;
  withdraw();
  const std::vector<AgentId> gone = gone_from(base);
  if (undone) undo_planned();
  if (state_.before) state_.before = with_shards(std::move(*state_.before), *state_.mine);
  publish(with_shards(without(base, gone, {state_.generation, ++state_.number}, op), *state_.mine));
}

}  // namespace instep::member
