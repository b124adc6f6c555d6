// How agents come as far as Ready: the first ones, and those that are started later.
#include <signal.h>

#include "base/text.h"
#include "member/step.h"

namespace instep::member {
namespace {

constexpr std::uint32_t kMaxShards = 1 << 16;

}  // namespace

bool Step::agree(AgentId agent, const char* what, const std::string& value,
                 const std::string& expected, Reason reason, AgentId other) {
  if (value == expected) return true;
  Outcome outcome;
  outcome.reason = reason;
  outcome.agent = agent;
  outcome.other = other;
  outcome.what = what;
  outcome.value = value;
  outcome.expected = expected;
  if (comes_in(agent)) {
    refuse(agent, std::move(outcome));
  } else {
    fail(std::move(outcome));
  }
  return false;
}

void Step::hear(AgentId agent, wire::Hello& hello) {
  if (ending() || life(agent).told_to_end) return;
  if (life(agent).said_hello) return protocol(agent, "Hello twice");
  if (hello.agent != agent) return protocol(agent, cat("that it is agent ", hello.agent));
  if (hello.protocol != wire::kProtocol) {
    return protocol(agent, cat("protocol ", hello.protocol, ", where this program speaks ",
                               wire::kProtocol, "; build both from one version of instep"));
  }
  if (!state_.first_hello) state_.first_hello.emplace(agent, hello);
  const auto& [other, first] = *state_.first_hello;
  const auto value = [](const auto& map, const std::string& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::string("(none)") : found->second;
  };
  for (const auto& [key, expected] : first.fingerprint) {
    if (!agree(agent, key.c_str(), value(hello.fingerprint, key), expected, Reason::kFingerprint,
               other)) {
      return;
    }
  }
  for (const auto& [key, mine] : hello.fingerprint) {
    if (!agree(agent, key.c_str(), mine, value(first.fingerprint, key), Reason::kFingerprint,
               other)) {
      return;
    }
  }
  life(agent).said_hello = true;
  welcome_those_waiting();
}

void Step::welcome_those_waiting() {
  if (!state_.prepared || (state_.phase != Phase::kAdmitting && !training())) return;
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    if (!it.alive || !it.said_hello || it.welcomed || it.told_to_end) continue;
    it.welcomed = true;
    act<SendWelcome>(agent, it.joining);
  }
}

void Step::hear(AgentId agent, wire::Ready& ready) {
  if (ending() || life(agent).told_to_end) return;
  if (!life(agent).welcomed || life(agent).ready) return protocol(agent, "Ready out of turn");
  if (ready.shards < 1 || ready.shards > kMaxShards) {
    return protocol(agent, cat(ready.shards, " shards; 1 to ", kMaxShards, " are possible"));
  }
  if (ready.owners != "all" && ready.owners != "servers") {
    return protocol(agent, cat("owners '", ready.owners, "'; 'all' and 'servers' are possible"));
  }
  if (!state_.first_ready) state_.first_ready.emplace(agent, ready);
  const auto& [other, known] = *state_.first_ready;
  const auto same = [&, other = other](const char* what, const auto& mine, const auto& theirs) {
    return agree(agent, what, cat(mine), cat(theirs), Reason::kDisagree, other);
  };
  if (!same("job hash", ready.job_hash, known.job_hash) ||
      !same("job", ready.job_json, known.job_json) ||
      !same("number of shards", ready.shards, known.shards) ||
      !same("number of blocks", ready.blocks, known.blocks) ||
      !same("owners", ready.owners, known.owners) ||
      !same("number of servers", ready.servers, known.servers)) {
    return;
  }
  // Whoever joins has no state yet.
  if (!life(agent).joining && (!same("first round", ready.first_round, known.first_round) ||
                               !same("state hash", ready.state_hash, known.state_hash))) {
    return;
  }
  if (state_.mine && !has_shards(*state_.mine)) {
    return protocol(agent, cat(ready.shards, " shards, fewer than this host was given of"));
  }
  state_.joinable = state_.joinable && ready.joinable;
  life(agent).ready = true;
  life(agent).kill_due.reset();
}

Owners Step::owners() const {
  return state_.first_ready->second.owners == "all" ? Owners::kAll : Owners::kServers;
}

void Step::publish_first() {
  const auto living = those([this](AgentId agent) { return life(agent).alive; });
  const bool all = std::all_of(living.begin(), living.end(),
                               [this](AgentId agent) { return life(agent).ready; });
  if (!all || living.empty()) return;
  if (state_.rules.late && !state_.joinable) {
    return fail(failure(Reason::kLauncher,
                        invalid("the run has begun, and a program that steps an optimizer of its "
                                "own cannot be joined: start it with all hosts")));
  }
  if (state_.rules.hosted && !std::exchange(state_.host_ready, true)) act<HostReady>();
  if (state_.rules.hosted && !state_.mine) return;
  if (state_.rules.late && !state_.came) return;
  state_.phase = Phase::kRunning;
  state_.failed_starts = 0;
  publish(first_view(living, state_.came));
}

// Of a run that begins, or where agents take over a state of that round.
View Step::first_view(const std::vector<AgentId>& agents, std::optional<std::uint64_t> round) {
  const Op op = round ? round_op(*round) : gather_op(state_.first_ready->second.first_round, 0);
  View out = assigned({state_.generation, ++state_.number}, op, agents);
  if (round) {
    out.joined = out.members;
    out.enters_at = op;
  }
  return out;
}

bool Step::can_start() const {
  return state_.rules.elastic && state_.joinable && !state_.starts_off && state_.rules.needs_view;
}

// Those that count among the wanted ones.
std::vector<AgentId> Step::present() {
  return those([this](AgentId agent) {
    const AgentLife& it = life(agent);
    return it.alive && !it.told_to_end && !it.leaving && !it.out && !it.report;
  });
}

std::optional<AgentId> Step::free_slot() {
  for (AgentId agent = 0; agent < count(); ++agent) {
    const AgentLife& it = life(agent);
    if (it.alive || in_view(agent) || in_before(agent)) continue;
    if (!it.in) return agent;  // nobody was ever told to read there
    if (!it.out) continue;
    // Who leaves may be at an op under the view before for a while.
    const auto readers = those([this](AgentId other) {
      return life(other).alive && life(other).in && !life(other).report;
    });
    const bool unread = std::all_of(readers.begin(), readers.end(), [&](AgentId other) {
      return life(other).words.taken >= *it.out;
    });
    if (unread) return agent;
  }
  return std::nullopt;
}

void Step::start(AgentId agent) {
  AgentLife& it = life(agent);
  if (it.report) state_.reports.emplace_back(agent, *it.report);
  it = AgentLife{};
  it.alive = it.link_open = true;
  it.kill_due = now_ + state_.rules.start_limit;
  it.joining = state_.view ? !state_.restart || state_.restart->round : state_.rules.late;
  act<Start>(agent, !those([this](AgentId other) { return takes_part(other); }).empty());
}

void Step::start_agents() {
  if (!can_start() || !state_.view) return;
  if (state_.restart ? !state_.restart->taken : state_.phase != Phase::kRunning || state_.over) {
    return;
  }
  for (std::size_t living = present().size(); living < state_.wanted; ++living) {
    const std::optional<AgentId> slot = free_slot();
    if (!slot) return;
    start(*slot);
  }
}

void Step::start_failed(AgentId agent, Outcome outcome) {
  if (state_.view) {
    tell("died", agent, describe(outcome),
         cat("agent ", agent, " could not join: ", describe(outcome)));
  }
  state_.failed_start = std::move(outcome);
  if (++state_.failed_starts < kMostFailedStarts) return;
  state_.starts_off = true;
  tell("refused", -1, describe(state_.failed_start),
       cat(kMostFailedStarts, " agents in a row could not be started: no more are"));
}

void Step::refuse(AgentId agent, Outcome outcome) {
  AgentLife& it = life(agent);
  if (it.told_to_end) return;
  const std::string words = describe(outcome);
  const bool by_chance =
      outcome.reason == Reason::kAgentFailed || outcome.reason == Reason::kLinkEnded;
  tell_to_end(agent, cat("refused: ", words));
  if (by_chance) return start_failed(agent, std::move(outcome));
  tell("refused", agent, words,
       cat("agent ", agent, " is refused and no other is started in its place: ", words));
  state_.failed_start = std::move(outcome);
  state_.starts_off = true;  // the next one would be the same
}

void Step::restart_if_due() {
  if (!state_.restart) return;
  Restart& restart = *state_.restart;
  if (!restart.asked) {
    if (!those([this](AgentId agent) { return life(agent).alive; }).empty()) return;
    restart.asked = true;
    if (restart.damaged) state_.first_ready.reset();  // they begin elsewhere
    act<TakeBook>(restart.damaged);
  }
  if (!restart.taken) return;
  const auto ready = those([this](AgentId agent) { return waits_to_join(agent); });
  const auto living = present();
  const bool enough = ready.size() >= std::max(1U, state_.rules.min_agents);
  const bool no_more = ready.size() == living.size() && !can_start();
  if (!enough && no_more) {
    return end(state_.starts_off ? state_.failed_start : restart.cause);
  }
  if (!enough) return restart.enough_at.reset();
  if (!restart.enough_at) restart.enough_at = now_;
  const bool late = now_ >= *restart.enough_at + state_.rules.gather_limit;
  if (ready.size() < state_.wanted && !late && !no_more) return;
  View next = first_view(ready, restart.round);
  const std::uint64_t round = rounds_before(next.first_op);
  state_.restart.reset();
  state_.over = false;
  state_.coming_in = next.joined;
  publish(std::move(next));
  tell("joined", -1, "",
       cat(named("agent", state_.view->members), state_.view->members.size() == 1 ? " goes" : " go",
           " on with round ", round));
}

void Step::on(BookTaken& event) {
  if (state_.rules.late && !state_.view) state_.came = event.round;
  if (!state_.restart || !state_.restart->asked) return;
  state_.restart->taken = true;
  state_.restart->round = event.round;
  for (AgentLife& it : state_.agents) {
    it.in.reset();  // nobody is left who could read
    it.out.reset();
  }
}

}  // namespace instep::member
