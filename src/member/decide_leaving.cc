// Fewer or more agents than before: who asks to leave, and how many are wanted.
#include <algorithm>

#include "base/text.h"
#include "member/step.h"

namespace instep::member {

void Step::hear(AgentId agent, wire::Leaving&) {
  AgentLife& it = life(agent);
  if (state_.phase != Phase::kRunning || it.asked_itself || it.report) {
    if (state_.phase == Phase::kAdmitting) protocol(agent, "that it leaves, before the run began");
    return;
  }
  it.asked_itself = true;
  if (!in_view(agent) && in_before(agent)) return;  // it goes already
  if (!in_view(agent)) return tell_to_end(agent, "asked to leave");
  const bool chosen = std::exchange(it.leaving, true);
  if (present().empty()) {
    const std::string reason = cat("agent ", agent, " was asked to leave");
    tell("left", agent, "asked to", cat(reason, " and is the last one: the run stops"));
    it.leaving = false;
    StopAsked stop{reason, false, false};
    return on(stop);
  }
  if (!chosen) {
    state_.wanted = std::max({1U, state_.rules.min_agents, state_.wanted - 1});
  }
}

void Step::on(ScaleAsked& event) {
  if (state_.phase != Phase::kAdmitting && state_.phase != Phase::kRunning) return;
  const std::uint32_t asked = std::clamp<std::uint32_t>(event.agents, 1, std::uint32_t(count()));
  if (asked != state_.wanted) {
    tell(
        "scaled", -1, "",
        cat(asked, asked == 1 ? " agent is" : " agents are", " wanted instead of ", state_.wanted));
  }
  state_.wanted = asked;
  state_.rules.min_agents = std::min(state_.rules.min_agents, asked);
  state_.starts_off = false;
  state_.failed_starts = 0;
  if (!state_.view || state_.restart) return;
  // Who goes by a view that is out already goes.
  for (const AgentId agent : state_.view->members) {
    life(agent).leaving = life(agent).asked_itself;
  }
  std::vector<AgentId> here = present();
  // First those that are not in, then the highest.
  std::stable_partition(here.begin(), here.end(), [this](AgentId agent) { return in_view(agent); });
  for (; here.size() > asked; here.pop_back()) {
    if (in_view(here.back())) {
      life(here.back()).leaving = true;
    } else {
      tell_to_end(here.back(), "fewer agents are wanted");
    }
  }
}

}  // namespace instep::member
