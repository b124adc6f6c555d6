// What agents' words say: how far they are, who hangs, which news are due.
#include <signal.h>
#include <string.h>

#include <map>

#include "base/text.h"
#include "base/time.h"
#include "member/step.h"

namespace instep::member {
namespace {

constexpr Nanoseconds kTick = 50 * kMillisecond;
constexpr Nanoseconds kFastTick = 2 * kMillisecond;  // while something is under way
constexpr std::size_t kRoundTimes = 15;              // that are remembered
constexpr std::size_t kFewRoundTimes = 3;            // say nothing yet
constexpr Nanoseconds kPatience = 10;                // times a usual round
// Times as much for each death in a row: a machine with too much to do makes agents late, and those
// that are started in their place, whose first round is slow, even later.
constexpr Nanoseconds kMorePatience = 4;

Nanoseconds tick(const RunState& state) {
  const bool asking = state.plan && state.plan->asked != state.plan->kept;
  return asking || state.before || !state.repairs.empty() ? kFastTick : kTick;
}

std::string milliseconds(Nanoseconds time) {
  return cat(static_cast<std::int64_t>((time + kMillisecond / 2) / kMillisecond), " ms");
}

}  // namespace

Nanoseconds usual_round(const RunState& state) {
  if (state.round_times.empty()) return 0;
  std::vector<Nanoseconds> sorted = state.round_times;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

Nanoseconds patience(const RunState& state, Busy busy) {
  const Nanoseconds ceiling = state.rules.patience_ceiling;
  if (busy == Busy::kOutside || state.round_times.size() < kFewRoundTimes) return ceiling;
  const Nanoseconds usual = std::min(usual_round(state), ceiling);
  Nanoseconds out = std::max(kPatience * usual, state.rules.patience_floor);
  const bool round_since = state.completed > state.completed_at_death;
  for (std::uint32_t death = 0; !round_since && death < state.deaths; ++death) {
    out = std::min(kMorePatience * out, ceiling);
  }
  return std::min(out, ceiling);
}

std::optional<Nanoseconds> next_observation(const RunState& state) {
  if (state.phase != Phase::kRunning && state.phase != Phase::kStopping) return std::nullopt;
  if (!state.view || state.view->members.empty() || state.restart) return std::nullopt;
  return state.observed_at ? *state.observed_at + tick(state) : 0;
}

std::string named(const char* one, const std::vector<AgentId>& numbers) {
  std::vector<std::string> words;
  for (const AgentId number : numbers) words.push_back(std::to_string(number));
  return cat(one, numbers.size() == 1 ? " " : "s ", join(words, ","));
}

void Step::tell(const char* kind, AgentId agent, const std::string& reason,
                const std::string& text) {
  act<Tell>(kind, agent, state_.completed, reason, 0.0, text);
}

void Step::on(Observed& event) {
  if (!training() || !state_.view || state_.restart) return;
  // Whoever looks late cannot say that others are, nor whoever looks for the first time.
  const Nanoseconds late = state_.observed_at
                               ? std::max<Nanoseconds>(0, now_ - *state_.observed_at - tick(state_))
                               : now_;
  state_.observed_at = now_;
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    const auto slot = static_cast<std::size_t>(agent);
    if (!it.alive || slot >= event.slots.size()) continue;
    it.changed_at = std::min(now_, it.changed_at + late);
    if (it.words == event.slots[slot]) continue;
    it.words = event.slots[slot];
    it.changed_at = now_;
  }
  // Waking a little late is no gap: rounds went on meanwhile.
  if (late > tick(state_)) state_.round_seen.reset();
  std::uint32_t oldest = state_.number;
  for (const AgentId agent : those([this](AgentId it) { return takes_part(it); })) {
    oldest = std::min(oldest, life(agent).words.view);
  }
  std::erase_if(state_.begins, [oldest](const auto& it) { return it.first <= oldest; });
  note_rounds();
  note_taken();
  tell_repairs(false);
  watch();
}

std::uint64_t Step::unbegun() {
  Op newest = state_.view->first_op;
  bool begun = false;  // or only known to be possible
  for (const AgentId agent : state_.view->members) {
    const Words& words = life(agent).words;
    for (const Op op : {words.started, words.released}) {
      if (op < newest || (op == newest && begun)) continue;
      newest = op;
      begun = true;
    }
  }
  return rounds_before(newest) + (begun && newest == round_op(rounds_before(newest)) ? 1 : 0);
}

void Step::note_rounds() {
  std::uint64_t completed = state_.completed;
  for (const AgentId agent : state_.view->members) {
    completed = std::max(completed, rounds_before(life(agent).words.started));
  }
  state_.completed = completed;
  if (!state_.round_seen) {
    state_.round_seen.emplace(completed, now_);
  } else if (completed > state_.round_seen->first) {
    const auto& [round, at] = *state_.round_seen;
    const std::uint64_t rounds = completed - round;
    state_.round_times.push_back((now_ - at) / static_cast<Nanoseconds>(rounds));
    if (state_.round_times.size() > kRoundTimes) {
      state_.round_times.erase(state_.round_times.begin());
    }
    state_.round_seen.emplace(completed, now_);
  }
}

void Step::note_taken() {
  const std::uint32_t number = state_.view->epoch.number;
  const auto has_taken = [&](AgentId agent) {
    return !life(agent).alive || life(agent).report || life(agent).words.taken >= number;
  };
  const auto& members = state_.view->members;
  if (!std::all_of(members.begin(), members.end(), has_taken)) return;
  if (!state_.coming_in.empty()) state_.failed_starts = 0;
  const std::vector<AgentId> joined = std::exchange(state_.coming_in, {});
  if (!state_.before) return;
  for (const AgentId agent : joined) {
    std::vector<AgentId> shards;
    for (std::size_t shard = 0; shard < state_.view->shard_agent.size(); ++shard) {
      if (state_.view->shard_agent[shard] == agent) shards.push_back(static_cast<AgentId>(shard));
    }
    if (!in_view(agent)) continue;
    act<Tell>("joined", agent, state_.before_round, std::string(), 0.0,
              cat("agent ", agent, " joined",
                  shards.empty() ? std::string() : cat(" and takes ", named("shard", shards)),
                  " from round ", state_.before_round, " on"));
  }
  const View before = std::move(*state_.before);
  state_.before.reset();
  for (const AgentId agent : before.members) {
    if (in_view(agent)) continue;
    AgentLife& it = life(agent);
    act<Tell>("left", agent, state_.before_round,
              std::string(it.asked_itself ? "asked to" : "scaled"), 0.0,
              cat("agent ", agent, " left", handed_over(before, *state_.view, agent)));
    if (it.alive && !it.report && state_.rules.linger) it.kill_due = now_ + state_.rules.end_limit;
  }
}

// An agent that hangs holds up the others; one that nobody waits for may take its time.
void Step::watch() {
  const auto watched = those([this](AgentId agent) { return takes_part(agent); });
  // Where all stand still nobody says that he waits.
  const bool all_still = std::all_of(watched.begin(), watched.end(), [this](AgentId agent) {
    return now_ - life(agent).changed_at >= state_.rules.patience_ceiling;
  });
  std::vector<std::pair<AgentId, Nanoseconds>> hung;
  for (const AgentId agent : watched) {
    AgentLife& it = life(agent);
    if (it.hung || it.told_to_end) continue;
    const Nanoseconds still = now_ - it.changed_at;
    if (still < patience(state_, it.words.busy)) continue;
    const bool waited_for = std::any_of(watched.begin(), watched.end(), [&](AgentId other) {
      return other != agent && life(other).words.busy == Busy::kWaiting;
    });
    if (waited_for || all_still || watched.size() == 1) hung.emplace_back(agent, still);
  }
  for (const auto& [agent, still] : hung) {
    life(agent).hung = still;
    act<Signal>(agent, SIGKILL);
  }
}

std::string Step::handed_over(const View& from, const View& to, AgentId agent) {
  std::vector<AgentId> shards, heirs;
  for (std::size_t shard = 0; shard < from.shard_agent.size(); ++shard) {
    if (from.shard_agent[shard] != agent || shard >= to.shard_agent.size()) continue;
    const AgentId heir = to.shard_agent[shard];
    if (heir == kElsewhere) continue;
    shards.push_back(static_cast<AgentId>(shard));
    if (std::find(heirs.begin(), heirs.end(), heir) == heirs.end()) heirs.push_back(heir);
  }
  if (shards.empty()) return "";
  std::sort(heirs.begin(), heirs.end());
  return cat("; ", named("shard", shards), " to ", named("agent", heirs));
}

void Step::note_death(const View& from, const View& to, const Outcome& outcome) {
  const AgentLife& it = life(outcome.agent);
  Repair repair;
  repair.since = it.died_at.value_or(now_) - it.hung.value_or(0);
  repair.tell.kind = it.hung ? "hung" : "died";
  repair.tell.agent = outcome.agent;
  repair.tell.round = rounds_before(owed_from(it));
  repair.tell.reason = it.hung ? cat("no sign of life for ", milliseconds(*it.hung))
                       : outcome.reason == Reason::kKilled
                           ? cat("killed by signal ", outcome.code)
                           : cat("ended with exit code ", outcome.code);
  repair.tell.text = cat("agent ", outcome.agent, it.hung ? " hung and was killed (" : " died (",
                         repair.tell.reason, ")", handed_over(from, to, outcome.agent));
  state_.repairs.push_back(std::move(repair));
}

void Step::tell_repairs(bool all) {
  std::vector<Repair> open;
  for (Repair& repair : state_.repairs) {
    const bool finished = state_.completed > repair.tell.round;
    if (!finished && !all) {
      open.push_back(std::move(repair));
      continue;
    }
    if (finished) {
      const Nanoseconds stall = now_ - repair.since;
      repair.tell.stall_ms = static_cast<double>(stall) * 1e-6;
      repair.tell.text += cat("; round ", repair.tell.round, " delayed by ", milliseconds(stall));
    }
    actions_.emplace_back(std::in_place_type<Tell>, std::move(repair.tell));
  }
  state_.repairs = std::move(open);
}

}  // namespace instep::member
