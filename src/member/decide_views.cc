// How views follow each other: deaths at once, everything else by a plan that all members agree to.
#include <signal.h>

#include <cmath>

#include "base/text.h"
#include "base/time.h"
#include "member/step.h"

namespace instep::member {
namespace {

constexpr std::uint32_t kMostDeaths = 3;             // in a row, without a finished round between
constexpr Nanoseconds kPlanning = 3 * kMillisecond;  // what it takes to ask everybody
constexpr std::uint64_t kFarthest = 1ULL << 20;      // rounds that a plan looks ahead

}  // namespace

bool Step::in_view(AgentId agent) const {
  return state_.view && contains(state_.view->members, agent);
}

bool Step::in_before(AgentId agent) const {
  return state_.before && contains(state_.before->members, agent);
}

bool Step::is_in(AgentId agent) {
  const AgentLife& it = life(agent);
  return (in_view(agent) || in_before(agent)) &&
         (!it.joining || (it.in && it.words.taken >= *it.in));
}

bool Step::comes_in(AgentId agent) { return life(agent).joining && state_.view && !is_in(agent); }

bool Step::is_outside(AgentId agent) {
  if (!in_view(agent) || in_before(agent) || !life(agent).alive || life(agent).report) return false;
  const View& view = *state_.view;
  return view.donor != -1 && contains(view.joined, agent) &&
         life(agent).words.taken < life(agent).in.value_or(0);
}

bool Step::takes_part(AgentId agent) {
  const AgentLife& it = life(agent);
  return it.alive && !it.report && (in_view(agent) || in_before(agent));
}

bool Step::waits_to_join(AgentId agent) {
  const AgentLife& it = life(agent);
  return it.alive && it.ready && it.link_open && !it.report && !it.told_to_end && !it.leaving &&
         !it.out && !in_view(agent) && !in_before(agent);
}

void Step::publish(View view) {
  const std::uint32_t number = view.epoch.number;
  state_.number = std::max(state_.number, number);
  if (state_.departed && view.first_op <= state_.departed->from) state_.departed.reset();
  state_.begins.emplace_back(number, view.first_op);
  state_.view = std::move(view);
  View& now = *state_.view;
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    if (in_view(agent)) {
      it.out.reset();
      if (it.in) continue;
      it.in = number;
      it.in_from = contains(now.joined, agent) ? now.enters_at : now.first_op;
      it.changed_at = now_;
    } else if (it.in && !it.out) {
      it.out = number;
    }
  }
  now.spares = those([this](AgentId agent) { return waits_to_join(agent); });
  const auto to = those([this](AgentId agent) {
    const AgentLife& it = life(agent);
    return it.alive && it.ready && it.link_open && !it.report && !it.told_to_end;
  });
  act<Publish>(now, to, now.donor == -1 && !now.joined.empty());
}

// The first op for which others may still need something of it: what it has done counts for the
// views that it has done it under, and under a later one it may have to do it again.
Op Step::owed_from(const AgentLife& it) const {
  if (it.words.view == 0) return it.in_from;
  Op from = it.words.released;
  for (const auto& [number, first_op] : state_.begins) {
    if (number > it.words.view) from = std::min(from, first_op);
  }
  return std::max(from, it.in_from);
}

// An agent's process has ended, and not as it should have.
void Step::died(AgentId agent, Outcome outcome) {
  AgentLife& it = life(agent);
  const bool killed = outcome.reason == Reason::kKilled;
  if (state_.phase == Phase::kAdmitting) {
    if (!killed || !can_start() || !state_.rules.replace) return fail(std::move(outcome));
    start_failed(agent, outcome);
    if (state_.starts_off) return fail(std::move(outcome));
    return start(agent);
  }
  if (it.report && killed) return;
  if (in_view(agent) || in_before(agent)) {
    // One that was still coming in ends alone, whatever it ends for.
    return killed || !is_in(agent) ? drop(agent, outcome) : fail(std::move(outcome));
  }
  if (it.told_to_end) return;
  if (it.report) return fail(std::move(outcome));
  // It was in and is out; what it still did was for itself.
  if (it.in) return;
  start_failed(agent, std::move(outcome));
}

void Step::drop(AgentId agent, const Outcome& outcome) {
  AgentLife& it = life(agent);
  state_.completed = std::max(state_.completed, rounds_before(it.words.started));
  if (state_.completed > state_.completed_at_death) state_.deaths = 0;
  state_.completed_at_death = state_.completed;
  const bool was_in = it.in && it.words.taken >= *it.in;
  // Those that died beside another one, before they knew of it, say nothing about the round.
  if (it.words.taken >= state_.view->epoch.number) ++state_.deaths;
  const Op from = owed_from(it);
  if (state_.deaths >= kMostDeaths) {
    Outcome loop = outcome;
    loop.reason = Reason::kCrashLoop;
    loop.round = rounds_before(from);
    return end(std::move(loop));
  }
  withdraw();
  if (!was_in && ++state_.failed_starts >= kMostFailedStarts) state_.starts_off = true;
  if (!(can_start() && state_.rules.replace)) {
    if (!state_.joinable) {
      tell("waiting", -1, "", "no agent is started in its place: none can take over the state");
    }
    state_.wanted = std::max(1U, state_.wanted - 1);
  }
  if (!in_view(agent) && from >= round_op(state_.before_round)) return;  // it had left
  if (!in_view(agent) && from > it.words.started && rounds_before(from) == state_.before_round) {
    state_.departed = Departed{agent, outcome, from};
    return judge_departed();
  }
  take_out(agent, outcome, from);
}

// One that leaves and has died behind its last op: whether it owed one more, a gather before the
// round of its leave, nobody knows before another one has begun that, or the round.
void Step::judge_departed() {
  if (!state_.departed) return;
  if (!in_before(state_.departed->agent)) return state_.departed.reset();
  Op newest = 0;
  for (const AgentId agent : those([this](AgentId other) { return takes_part(other); })) {
    newest = std::max(newest, life(agent).words.started);
  }
  if (newest < state_.departed->from) return;
  const Departed it = *std::exchange(state_.departed, std::nullopt);
  if (newest < round_op(state_.before_round)) take_out(it.agent, it.outcome, it.from);
}

void Step::take_out(AgentId agent, const Outcome& outcome, Op from) {
  const AgentLife& it = life(agent);
  // Nobody can be past what it owed to others.
  // Nor can they be past a gather before the planned round that it had not done its part of.
  const bool owes = it.words.released == it.words.started && from == it.words.started;
  // Where a death has brought the planned change forward it stands from there on.
  const Op planned = owes ? round_op(state_.before_round) : gather_op(state_.before_round, 0);
  const bool undone = state_.before && from < std::min(planned, state_.view->first_op);
  View base = undone ? *state_.before : *state_.view;
  const std::vector<AgentId> gone = gone_from(base);
  Op first_op = no_later(base, from);
  const bool by_book = base.donor == -1;
  std::vector<AgentId> holders, newcomers;
  for (const AgentId member : base.members) {
    if (contains(gone, member)) continue;
    const AgentLife& other = life(member);
    if (by_book || !contains(base.joined, member)) {
      holders.push_back(member);
    } else if (other.in && other.words.taken >= *other.in) {
      newcomers.push_back(member);
    }
  }
  if (holders.empty() && !newcomers.empty()) {
    // All that live and know the state have begun the round that they came in with.
    first_op = std::max(first_op, base.enters_at);
    std::erase_if(base.joined, [&](AgentId joined) { return contains(newcomers, joined); });
    base.donor = newcomers.front();
  } else if (holders.empty()) {
    const auto done = those([&](AgentId other) {
      return contains(base.members, other) && life(other).report.has_value();
    });
    note_death(base, View{}, outcome);
    if (done.empty()) return pause(outcome);
    state_.view->members = done;  // training was over, and somebody has said so
    state_.before.reset();
    return;
  }
  if (undone) undo_planned();
  const View next = without(base, gone, {state_.generation, ++state_.number}, first_op);
  note_death(base, next, outcome);
  publish(next);
}

std::vector<AgentId> Step::gone_from(const View& view) {
  std::vector<AgentId> out;
  for (const AgentId member : view.members) {
    if (!life(member).alive || life(member).report) out.push_back(member);
  }
  return out;
}

// While a newcomer has not come in nobody is past the round that it comes in with, whatever the
// dead had handed over for it.
Op Step::no_later(const View& base, Op op) {
  const bool all_in = std::all_of(base.joined.begin(), base.joined.end(), [this](AgentId joined) {
    return !life(joined).in || life(joined).words.taken >= *life(joined).in;
  });
  return all_in ? op : std::min(op, base.enters_at);
}

// A planned view that nobody can have begun is void: those that were to come in by it wait again.
void Step::undo_planned() {
  for (const AgentId joiner : state_.view->joined) {
    if (life(joiner).alive && !in_before(joiner)) life(joiner).in.reset();
  }
  state_.before.reset();
  state_.coming_in.clear();
}

// The state is in nobody's hands but ours: new agents take it over.
void Step::pause(const Outcome& cause) {
  tell_repairs(true);
  state_.before.reset();
  state_.coming_in.clear();
  state_.begins.clear();
  state_.plan.reset();
  state_.view->members.clear();
  state_.view->spares.clear();
  if (!(can_start() && state_.rules.replace)) return end(cause);
  if (cause.kind != ErrorKind::kDamaged) {
    tell("paused", -1, describe(cause),
         "no agent is left; the run goes on when new ones are there");
  }
  state_.restart = Restart{};
  state_.restart->cause = cause;
  state_.stop_is_out = false;
  for (const AgentId agent : those([this](AgentId other) { return life(other).alive; })) {
    life(agent).told_to_end = true;
    act<Signal>(agent, SIGKILL);
  }
}

// The state does not hold what was written there. Nobody has made anything of it: whoever found
// that has not finished its round, and nobody has without it.
void Step::damaged(AgentId agent, Outcome outcome) {
  if (!training() || !state_.view || state_.restart) return fail(std::move(outcome));
  constexpr std::uint32_t kMostDamages = 3;
  state_.damages = state_.completed > state_.damaged_at ? 1 : state_.damages + 1;
  state_.damaged_at = state_.completed;
  const bool again = state_.rules.restore && state_.damages < kMostDamages && can_start();
  tell("corrupted", agent, outcome.message,
       cat("memory is damaged: ", outcome.message, "; the run ",
           again ? "goes back to its last checkpoint" : "ends"));
  if (!again) return fail(std::move(outcome));
  pause(outcome);
  if (state_.restart) state_.restart->damaged = true;
}

// The members that there should be, if they are others than now and can be had.
std::optional<View> Step::target() {
  std::vector<AgentId> stay, leavers;
  for (const AgentId agent : state_.view->members) {
    if (!takes_part(agent)) continue;
    (life(agent).leaving ? leavers : stay).push_back(agent);
  }
  std::vector<AgentId> waiting = those([this](AgentId agent) { return waits_to_join(agent); });
  const std::size_t least = std::max(1U, state_.rules.min_agents);
  // Who leaves waits for those that come in its place, and somebody must hand over the state.
  const bool to_come = can_start() && present().size() >= least;
  if (stay.size() + waiting.size() < least && to_come) {
    stay.insert(stay.end(), leavers.begin(), leavers.end());
  } else if (stay.empty() && !leavers.empty()) {
    stay.push_back(leavers.front());
  }
  std::sort(stay.begin(), stay.end());
  if (stay.empty()) return std::nullopt;
  const wire::Ready& ready = state_.first_ready->second;
  const std::uint32_t servers = std::max(1U, ready.servers);
  // Whoever comes is taken as long as there is work for all; views themselves are costly to make.
  const auto fit = [&](std::size_t agents) {
    return member_count(static_cast<std::uint32_t>(agents), shards(), ready.blocks, owners(),
                        servers);
  };
  stay.resize(fit(stay.size()));
  for (const AgentId agent : waiting) {
    if (fit(stay.size() + 1) <= stay.size()) continue;
    stay.insert(std::upper_bound(stay.begin(), stay.end(), agent), agent);
  }
  if (stay == state_.view->members && !uneven()) return std::nullopt;
  return assigned({1, 0}, 0, stay);
}

bool Step::settled() {
  const auto living = those([this](AgentId agent) { return takes_part(agent); });
  return !state_.before && std::all_of(living.begin(), living.end(), [this](AgentId agent) {
    return life(agent).words.taken >= state_.view->epoch.number;
  });
}

bool Step::below() {
  if (!state_.rules.elastic || !state_.joinable) return false;
  return those([this](AgentId agent) { return takes_part(agent) && in_view(agent); }).size() <
         least_members();
}

void Step::plan_if_due() {
  if (state_.phase != Phase::kRunning || state_.restart || !state_.view) return;
  if (state_.over) return withdraw();
  const bool few = below();
  if (few && !state_.waiting_told) {
    tell("waiting", -1, "",
         cat("waits for agents: ", state_.view->members.size(), " of at least ", least_members()));
  }
  state_.waiting_told = few;
  if (state_.plan) {
    if (state_.plan->asked != state_.plan->kept || !settled()) return;
    std::optional<View> next = target();
    if (next && (!few || next->members.size() + next->spares.size() >= least_members())) {
      publish_plan(std::move(*next));
    } else if (!few) {
      withdraw();
    }
    return;
  }
  if (few || (settled() && target())) propose(0, 0);
}

void Step::propose(std::uint64_t after, std::uint32_t tries) {
  std::uint64_t margin = 1;
  if (!state_.round_times.empty()) {
    const Nanoseconds round = std::max<Nanoseconds>(1, usual_round(state_));
    margin = static_cast<std::uint64_t>((kPlanning + round - 1) / round);
  }
  Plan plan;
  plan.number = ++state_.number;
  plan.tries = tries;
  plan.round = std::max(unbegun(), after) + 1 + std::min(kFarthest, margin << std::min(tries, 20U));
  for (const AgentId agent : state_.view->members) {
    if (!takes_part(agent)) continue;
    plan.asked.insert(agent);
    act<SendPropose>(agent, wire::Propose{plan.number, plan.round});
  }
  state_.plan = std::move(plan);
}

void Step::withdraw() {
  if (!state_.plan) return;
  for (const AgentId agent : state_.plan->asked) {
    if (!life(agent).alive || !life(agent).link_open) continue;
    act<SendPropose>(agent, wire::Propose{state_.plan->number, wire::kWithdrawn});
  }
  state_.plan.reset();
}

void Step::hear(AgentId agent, wire::Promise& promise) {
  if (!state_.plan || promise.number != state_.plan->number || !training()) return;
  if (!state_.plan->asked.contains(agent)) return;
  if (promise.over) {
    state_.over = true;
  } else if (promise.kept) {
    state_.plan->kept.insert(agent);
  } else {
    const std::uint32_t tries = state_.plan->tries + 1;
    withdraw();
    propose(std::min(promise.round, wire::kWithdrawn >> 24) + 1, tries);
  }
}

void Step::publish_plan(View next) {
  next.epoch = {state_.generation, state_.plan->number};
  next.first_op = next.enters_at = round_op(state_.plan->round);
  std::vector<AgentId> both;
  for (const AgentId agent : next.members) {
    (in_view(agent) ? both : next.joined).push_back(agent);
  }
  next.donor = both.front();
  state_.before = state_.view;
  state_.before_round = state_.plan->round;
  state_.coming_in = next.joined;
  state_.plan.reset();
  publish(std::move(next));
}

}  // namespace instep::member
