// How a run waits for hosts that join, when those that are left have too few agents.
//
// They have been halted for the loss of the others, and the line-up that would let them go on stays
// away: what they have of the round under way is kept, and nothing is computed beyond it. A host
// that comes is let in as one that comes late, once it is ready. Where nobody comes all go on after
// all, for as long as it takes to stop: with what they have saved the run goes on later.
#include "base/time.h"
#include "member/hosts_step.h"

namespace instep::member {
namespace {

constexpr Nanoseconds kOwnGap = kSecond;

std::uint64_t agents_of(const std::map<HostId, HostLife>& hosts) {
  std::uint64_t out = 0;
  for (const auto& [host, it] : hosts) out += it.entry.agents;
  return out;
}

}  // namespace

// Where one has done all rounds the others lack no more than the sums of the last one.
bool enough_are_left(const HostsState& state) {
  const bool done = std::any_of(state.hosts.begin(), state.hosts.end(),
                                [](const auto& it) { return it.second.done; });
  if (state.hosts.empty()) return false;
  return done || state.stopping || agents_of(state.hosts) >= state.rules.min_agents;
}

bool too_few(const HostsState& state) {
  return state.phase == HostsPhase::kHalting && !enough_are_left(state);
}

Error HostsStep::too_few_left() const {
  const Nanoseconds limit = state_.rules.wait_limit;
  const std::string waited = cat("and no others have joined within ", limit / kSecond, " s; ");
  return {
      ErrorKind::kUnavailable,
      cat(state_.loss, ", ", agents(), " of at least ", state_.rules.min_agents, " agents are left",
          limit > 0 ? cat(", ", waited) : "; ", "go on with `instep resume` when there are more")};
}

void HostsStep::give_up() {
  state_.stopping = true;
  state_.waiting.reset();
  act<GiveUp>(too_few_left(), everybody());
}

// The time counts from when there was hope last: it is for hosts to join, and how long one takes to
// be ready is a matter of its own.
void HostsStep::wait_for_hosts() {
  if (!too_few(state_)) return state_.waiting.reset();
  const Waiting before = state_.waiting.value_or(Waiting{now_, 0, false});
  Waiting next{before.since, agents(), false};
  next.coming = next.agents + agents_of(state_.late) >= state_.rules.min_agents;
  const Nanoseconds late = now_ - before.since - state_.rules.wait_limit;
  // Whoever looks that late stood still meanwhile, and heard of nobody who came.
  if (next.coming || before.coming || late > kOwnGap) {
    next.since = now_;
  } else if (late >= 0) {
    return give_up();
  }
  const bool news = next.agents != before.agents || (before.coming && !next.coming);
  state_.waiting = next;
  if (!news) return;
  act<Wait>(next.agents, state_.rules.min_agents, next.since + state_.rules.wait_limit - now_,
            everybody());
}

}  // namespace instep::member
