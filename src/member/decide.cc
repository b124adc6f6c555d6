#include "member/decide.h"

#include <signal.h>

#include <algorithm>

#include "base/text.h"

namespace instep::member {
namespace {

constexpr std::uint32_t kMaxShards = 1 << 16;

// One call of decide(): the state under change and the actions found so far.
class Step {
 public:
  Step(RunState state, Nanoseconds now) : state_(std::move(state)), now_(now) {}

  void on(Heard& event);
  void on(LinkEnded& event);
  void on(Exited& event);
  void on(Prepared& event);
  void on(LauncherFailed& event);
  void on(StopAsked& event);
  void on(TimePassed& event);
  void settle();
  Decision take() { return {std::move(state_), std::move(actions_)}; }

 private:
  AgentLife& life(AgentId agent) { return state_.agents.at(static_cast<std::size_t>(agent)); }
  AgentId count() const { return static_cast<AgentId>(state_.agents.size()); }
  bool ending() const { return state_.phase == Phase::kEnding || state_.phase == Phase::kOver; }

  void hear(AgentId agent, wire::Hello& hello);
  void hear(AgentId agent, wire::Ready& ready);
  void hear(AgentId agent, wire::Progress& progress);
  void hear(AgentId agent, wire::Done& done);
  void hear(AgentId agent, wire::Failed& failed);
  void hear(AgentId agent, wire::Welcome&) { protocol(agent, "a Welcome, which only it may get"); }
  void hear(AgentId agent, wire::ViewMessage&) { protocol(agent, "a view, which only it may get"); }
  void hear(AgentId agent, wire::StopRequest&) { protocol(agent, "a stop request"); }

  // Made in place: moving a temporary variant makes the compiler warn of what it never reads.
  template <class T, class... Fields>
  void act(Fields&&... values) {
    actions_.emplace_back(std::in_place_type<T>, T{std::forward<Fields>(values)...});
  }
  void welcome_those_waiting();
  void publish();
  bool agree(AgentId agent, const char* what, const std::string& value, const std::string& expected,
             Reason reason, AgentId other);
  void protocol(AgentId agent, const std::string& what);
  void fail(Outcome outcome);
  void end(Outcome outcome);
  void kill_all();
  void signal_living(int signal);

  RunState state_;
  Nanoseconds now_;
  std::vector<Action> actions_;
};

// Whether a later piece of news explains a failure better than the first one did: that somebody is
// gone is seen by its peers, and in its link, before the news of how it went.
bool explains_better(const Outcome& known, const Outcome& news) {
  const bool ended = news.reason == Reason::kExited || news.reason == Reason::kKilled;
  if (known.reason == Reason::kLinkEnded) return ended && news.agent == known.agent;
  if (known.reason != Reason::kAgentFailed || known.kind != ErrorKind::kUnavailable) return false;
  return ended || (news.reason == Reason::kAgentFailed && news.kind != ErrorKind::kUnavailable);
}

void Step::fail(Outcome outcome) {
  if (!ending()) return end(std::move(outcome));
  const bool terminated = !state_.terminate_at.has_value();  // SIGTERM is out
  const bool exited = outcome.reason == Reason::kExited;
  if (terminated || (exited && life(outcome.agent).told_to_end)) return;
  if (explains_better(state_.outcome, outcome)) state_.outcome = std::move(outcome);
}

void Step::end(Outcome outcome) {
  state_.phase = Phase::kEnding;
  state_.outcome = std::move(outcome);
  const std::string reason = state_.outcome.reason == Reason::kAbandoned
                                 ? state_.outcome.stop_reason
                                 : cat("failed: ", describe(state_.outcome));
  bool told = false;
  for (AgentId agent = 0; agent < count(); ++agent) {
    if (!life(agent).link_open || !life(agent).welcomed) continue;
    told = life(agent).told_to_end = true;
    act<SendStop>(agent, reason);
  }
  state_.terminate_at = now_ + (told ? state_.rules.terminate_after : 0);
  state_.kill_at = *state_.terminate_at + state_.rules.kill_after;
}

void Step::signal_living(int signal) {
  for (AgentId agent = 0; agent < count(); ++agent) {
    if (life(agent).alive) act<Signal>(agent, signal);
  }
}

void Step::kill_all() {
  state_.terminate_at.reset();
  state_.kill_at.reset();
  signal_living(SIGKILL);
}

void Step::protocol(AgentId agent, const std::string& what) {
  Outcome outcome;
  outcome.reason = Reason::kProtocol;
  outcome.agent = agent;
  outcome.what = what;
  fail(std::move(outcome));
}

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
  fail(std::move(outcome));
  return false;
}

void Step::on(Heard& event) {
  std::visit([&](auto& message) { hear(event.agent, message); }, event.message);
}

void Step::hear(AgentId agent, wire::Hello& hello) {
  if (ending()) return;
  if (life(agent).hello) return protocol(agent, "Hello twice");
  if (hello.agent != agent) return protocol(agent, cat("that it is agent ", hello.agent));
  if (hello.protocol != wire::kProtocol) {
    return protocol(agent, cat("protocol ", hello.protocol, ", where this program speaks ",
                               wire::kProtocol, "; build both from one version of instep"));
  }
  for (AgentId other = 0; other < count(); ++other) {
    if (!life(other).hello) continue;
    const auto& known = life(other).hello->fingerprint;
    const auto value = [](const auto& map, const std::string& key) {
      const auto found = map.find(key);
      return found == map.end() ? std::string("(none)") : found->second;
    };
    for (const auto& [key, expected] : known) {
      if (!agree(agent, key.c_str(), value(hello.fingerprint, key), expected, Reason::kFingerprint,
                 other)) {
        return;
      }
    }
    for (const auto& [key, mine] : hello.fingerprint) {
      if (!agree(agent, key.c_str(), mine, value(known, key), Reason::kFingerprint, other)) return;
    }
    break;  // those admitted before agree with each other
  }
  life(agent).hello = std::move(hello);
  welcome_those_waiting();
}

void Step::welcome_those_waiting() {
  if (!state_.prepared || state_.phase != Phase::kAdmitting) return;
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    if (!it.hello || it.welcomed) continue;
    it.welcomed = true;
    act<SendWelcome>(agent);
  }
}

void Step::hear(AgentId agent, wire::Ready& ready) {
  if (ending()) return;
  if (!life(agent).welcomed || life(agent).ready) return protocol(agent, "Ready out of turn");
  if (ready.shards < 1 || ready.shards > kMaxShards) {
    return protocol(agent, cat(ready.shards, " shards; 1 to ", kMaxShards, " are possible"));
  }
  if (ready.owners != "all" && ready.owners != "servers") {
    return protocol(agent, cat("owners '", ready.owners, "'; 'all' and 'servers' are possible"));
  }
  for (AgentId other = 0; other < count(); ++other) {
    if (!life(other).ready) continue;
    const wire::Ready& known = *life(other).ready;
    const auto same = [&](const char* what, const auto& mine, const auto& theirs) {
      return agree(agent, what, cat(mine), cat(theirs), Reason::kDisagree, other);
    };
    if (!same("job hash", ready.job_hash, known.job_hash) ||
        !same("job", ready.job_json, known.job_json) ||
        !same("number of shards", ready.shards, known.shards) ||
        !same("number of blocks", ready.blocks, known.blocks) ||
        !same("owners", ready.owners, known.owners) ||
        !same("number of servers", ready.servers, known.servers) ||
        !same("first round", ready.first_round, known.first_round) ||
        !same("state hash", ready.state_hash, known.state_hash)) {
      return;
    }
    break;
  }
  life(agent).ready = std::move(ready);
  const bool all = std::all_of(state_.agents.begin(), state_.agents.end(),
                               [](const AgentLife& it) { return it.ready.has_value(); });
  if (all) publish();
}

void Step::publish() {
  const wire::Ready& ready = *state_.agents.front().ready;
  std::vector<AgentId> agents;
  for (AgentId agent = 0; agent < count(); ++agent) agents.push_back(agent);
  const Owners owners = ready.owners == "all" ? Owners::kAll : Owners::kServers;
  state_.view = assign({}, ready.first_round, agents, ready.shards, ready.blocks, owners,
                       std::max(1U, ready.servers));
  state_.phase = Phase::kRunning;
  act<Publish>(*state_.view);
}

void Step::hear(AgentId agent, wire::Progress& progress) { act<Show>(agent, std::move(progress)); }

void Step::hear(AgentId agent, wire::Done& done) {
  if (ending()) return;
  AgentLife& it = life(agent);
  if (it.report) return protocol(agent, "Done twice");
  if (!it.welcomed || (state_.rules.needs_view && !state_.view)) {
    return protocol(agent, "that it is done, before the run began");
  }
  it.report = std::move(done.report);
  const bool all = std::all_of(state_.agents.begin(), state_.agents.end(),
                               [](const AgentLife& other) { return other.report.has_value(); });
  if (!all) return;
  if (state_.phase == Phase::kStopping) {
    state_.outcome.reason = Reason::kStopped;
  } else {
    state_.outcome.reason = Reason::kFinished;
  }
  state_.phase = Phase::kLeaving;
  if (state_.rules.linger) {
    state_.terminate_at = now_ + *state_.rules.linger;
    state_.kill_at = *state_.terminate_at + state_.rules.kill_after;
  }
}

void Step::hear(AgentId agent, wire::Failed& failed) {
  Outcome outcome;
  outcome.reason = Reason::kAgentFailed;
  outcome.agent = agent;
  const bool known = failed.kind >= 0 && failed.kind <= static_cast<int>(ErrorKind::kInternal);
  outcome.kind = known ? static_cast<ErrorKind>(failed.kind) : ErrorKind::kInternal;
  outcome.message = std::move(failed.message);
  fail(std::move(outcome));
}

void Step::on(LinkEnded& event) {
  AgentLife& it = life(event.agent);
  it.link_open = false;
  if (!event.error.empty()) return protocol(event.agent, event.error);
  if (!it.report && it.alive && !ending()) it.exit_due = now_ + state_.rules.exit_grace;
}

void Step::on(Exited& event) {
  AgentLife& it = life(event.agent);
  it.alive = false;
  it.exit_due.reset();
  const bool clean = event.code == 0 && event.signal == 0;
  const bool ours = state_.phase == Phase::kLeaving && state_.rules.linger && !state_.terminate_at;
  if (ours || (clean && it.report)) return;
  Outcome outcome;
  outcome.reason = event.signal != 0 ? Reason::kKilled : Reason::kExited;
  outcome.agent = event.agent;
  outcome.code = event.signal != 0 ? event.signal : event.code;
  outcome.joined = it.hello.has_value();
  outcome.was_done = it.report.has_value();
  fail(std::move(outcome));
}

void Step::on(Prepared&) {
  state_.prepared = true;
  welcome_those_waiting();
}

void Step::on(LauncherFailed& event) {
  Outcome outcome;
  outcome.reason = Reason::kLauncher;
  outcome.kind = event.error.kind;
  outcome.message = std::move(event.error.message);
  fail(std::move(outcome));
}

void Step::on(StopAsked& event) {
  const auto abandon = [&] {
    Outcome outcome;
    outcome.reason = Reason::kAbandoned;
    outcome.stop_reason = event.reason;
    outcome.interrupted = event.interrupted;
    return outcome;
  };
  switch (state_.phase) {
    case Phase::kAdmitting:
      return end(abandon());
    case Phase::kRunning:
      state_.phase = Phase::kStopping;
      state_.outcome.stop_reason = event.reason;
      state_.outcome.interrupted = event.interrupted;
      for (AgentId agent = 0; agent < count(); ++agent) {
        if (life(agent).link_open && !life(agent).report) {
          act<SendStop>(agent, event.reason);
        }
      }
      return;
    case Phase::kStopping:
      if (!event.by_signal) return;
      end(abandon());
      return kill_all();
    case Phase::kLeaving:  // everything is saved; only a process that does not end is waited for
    case Phase::kEnding:
      if (event.by_signal) kill_all();
      return;
    case Phase::kOver:
      return;
  }
}

void Step::on(TimePassed&) {
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    if (!it.exit_due || now_ < *it.exit_due) continue;
    it.exit_due.reset();
    Outcome outcome;
    outcome.reason = Reason::kLinkEnded;
    outcome.agent = agent;
    fail(std::move(outcome));
  }
  if (state_.terminate_at && now_ >= *state_.terminate_at) {
    state_.terminate_at.reset();
    signal_living(SIGTERM);
  }
  if (state_.kill_at && now_ >= *state_.kill_at) kill_all();
}

void Step::settle() {
  if (state_.phase != Phase::kLeaving && state_.phase != Phase::kEnding) return;
  const bool any = std::any_of(state_.agents.begin(), state_.agents.end(),
                               [](const AgentLife& it) { return it.alive; });
  if (any) return;
  state_.phase = Phase::kOver;
  state_.terminate_at.reset();
  state_.kill_at.reset();
}

}  // namespace

RunState begin(const Rules& rules) {
  RunState state;
  state.rules = rules;
  state.agents.resize(rules.agents);
  return state;
}

Decision decide(RunState state, Event event, Nanoseconds now) {
  Step step(std::move(state), now);
  std::visit([&step](auto& it) { step.on(it); }, event);
  step.settle();
  return step.take();
}

std::optional<Nanoseconds> next_deadline(const RunState& state) {
  std::optional<Nanoseconds> next;
  const auto consider = [&next](const std::optional<Nanoseconds>& at) {
    if (at && (!next || *at < *next)) next = at;
  };
  consider(state.terminate_at);
  consider(state.kill_at);
  for (const AgentLife& it : state.agents) consider(it.exit_due);
  return next;
}

}  // namespace instep::member
