#include "member/decide.h"

#include <signal.h>

#include "base/text.h"
#include "member/step.h"

namespace instep::member {
namespace {

// Whether a later piece of news explains a failure better than the first one did: that somebody is
// gone is seen by its peers, and in its link, before the news of how it went.
bool explains_better(const Outcome& known, const Outcome& news) {
  const bool ended = news.reason == Reason::kExited || news.reason == Reason::kKilled;
  if (known.reason == Reason::kLinkEnded) return ended && news.agent == known.agent;
  if (known.reason != Reason::kAgentFailed || known.kind != ErrorKind::kUnavailable) return false;
  return ended || (news.reason == Reason::kAgentFailed && news.kind != ErrorKind::kUnavailable);
}

}  // namespace

void Step::fail(Outcome outcome) {
  if (!ending()) return end(std::move(outcome));
  const bool terminated = !state_.terminate_at.has_value();  // SIGTERM is out
  const bool exited = outcome.reason == Reason::kExited;
  if (terminated || (exited && life(outcome.agent).told_to_end)) return;
  if (explains_better(state_.outcome, outcome)) state_.outcome = std::move(outcome);
}

void Step::end(Outcome outcome) {
  tell_repairs(true);
  state_.phase = Phase::kEnding;
  state_.plan.reset();
  state_.restart.reset();
  state_.outcome = std::move(outcome);
  const std::string reason = state_.outcome.reason == Reason::kAbandoned
                                 ? state_.outcome.stop_reason
                                 : cat("failed: ", describe(state_.outcome));
  bool told = false;
  for (AgentId agent = 0; agent < count(); ++agent) {
    if (!life(agent).alive || !life(agent).link_open || !life(agent).welcomed) continue;
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

void Step::tell_to_end(AgentId agent, const std::string& reason) {
  AgentLife& it = life(agent);
  if (!it.alive || it.told_to_end) return;
  it.told_to_end = true;
  if (it.welcomed && it.link_open) {
    act<SendStop>(agent, reason);
    it.kill_due = now_ + state_.rules.end_limit;
  } else {
    act<Signal>(agent, SIGKILL);
  }
}

void Step::protocol(AgentId agent, const std::string& what) {
  Outcome outcome;
  outcome.reason = Reason::kProtocol;
  outcome.agent = agent;
  outcome.what = what;
  if (comes_in(agent)) return refuse(agent, std::move(outcome));
  fail(std::move(outcome));
}

void Step::on(Heard& event) {
  std::visit([&](auto& message) { hear(event.agent, message); }, event.message);
}

void Step::hear(AgentId agent, wire::Done& done) {
  if (ending()) return;
  AgentLife& it = life(agent);
  if (it.report) return protocol(agent, "Done twice");
  if (!it.welcomed || (state_.rules.needs_view && !state_.view)) {
    return protocol(agent, "that it is done, before the run began");
  }
  it.report = std::move(done.report);
  if (in_view(agent)) state_.over = true;
}

void Step::finish_if_done() {
  const bool views = state_.rules.needs_view;
  if (views && (!state_.view || state_.restart)) return;
  auto members = views ? state_.view->members : those([](AgentId) { return true; });
  // The others may end before the round that newcomers come in with.
  if (views) std::erase_if(members, [this](AgentId agent) { return is_outside(agent); });
  const bool done = std::all_of(members.begin(), members.end(),
                                [this](AgentId agent) { return life(agent).report.has_value(); });
  if (!done || members.empty()) return;
  tell_repairs(true);
  withdraw();
  state_.outcome.reason = state_.phase == Phase::kStopping ? Reason::kStopped : Reason::kFinished;
  state_.phase = Phase::kLeaving;
  for (AgentId agent = 0; agent < count(); ++agent) {
    if (life(agent).report) continue;
    if (views && is_outside(agent)) {  // it waits for a state that nobody hands over any more
      life(agent).told_to_end = true;
      act<Signal>(agent, SIGKILL);
    } else {
      tell_to_end(agent, "finished");
    }
  }
  if (state_.rules.linger) {
    state_.terminate_at = now_ + *state_.rules.linger;
    state_.kill_at = *state_.terminate_at + state_.rules.kill_after;
  }
}

void Step::hear(AgentId agent, wire::Failed& failed) {
  if (life(agent).out && !in_view(agent) && !in_before(agent)) return;  // it was let go
  Outcome outcome = failure(Reason::kAgentFailed, wire::error_of(std::move(failed)));
  outcome.agent = agent;
  if (outcome.kind == ErrorKind::kDamaged) return damaged(agent, std::move(outcome));
  if (comes_in(agent)) return refuse(agent, std::move(outcome));
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
  it.link_open = false;
  it.exit_due.reset();
  it.kill_due.reset();
  it.words = event.words;
  it.died_at = event.at != 0 ? std::min(event.at, now_) : now_;
  const bool clean = event.code == 0 && event.signal == 0;
  const bool ours =
      state_.phase == Phase::kLeaving && ((state_.rules.linger && !state_.terminate_at) ||
                                          it.told_to_end || (it.report && event.signal != 0));
  if (ours || (clean && it.report)) return;
  Outcome outcome;
  outcome.reason = event.signal != 0 ? Reason::kKilled : Reason::kExited;
  outcome.agent = event.agent;
  outcome.code = event.signal != 0 ? event.signal : event.code;
  outcome.joined = it.said_hello;
  outcome.was_done = it.report.has_value();
  if (ending() || !state_.rules.needs_view) return fail(std::move(outcome));
  died(event.agent, std::move(outcome));
}

void Step::on(Prepared&) {
  state_.prepared = true;
  welcome_those_waiting();
}

void Step::on(LauncherFailed& event) { fail(failure(Reason::kLauncher, std::move(event.error))); }

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
      state_.stop_signalled = event.by_signal;
      state_.outcome.stop_reason = event.reason;
      state_.outcome.interrupted = event.interrupted;
      return;  // settle() tells everybody
    case Phase::kStopping:
      // The first may come behind another reason: a scheduler's goes to all processes, and the
      // last agent to leave stops the run.
      if (!event.by_signal || !std::exchange(state_.stop_signalled, true)) return;
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

void Step::on(JobKnown& event) {
  state_.rules.patience_ceiling = event.patience;
  state_.rules.restore = event.restore;
}

void Step::on(TimePassed&) {
  for (AgentId agent = 0; agent < count(); ++agent) {
    AgentLife& it = life(agent);
    if (it.kill_due && now_ >= *it.kill_due) {
      it.kill_due.reset();
      act<Signal>(agent, SIGKILL);
    }
    if (!it.exit_due || now_ < *it.exit_due) continue;
    it.exit_due.reset();
    Outcome outcome;
    outcome.reason = Reason::kLinkEnded;
    outcome.agent = agent;
    if (it.told_to_end && !ending()) {
      act<Signal>(agent, SIGKILL);
    } else if (comes_in(agent)) {
      refuse(agent, std::move(outcome));
    } else {
      fail(std::move(outcome));
    }
  }
  if (state_.terminate_at && now_ >= *state_.terminate_at) {
    state_.terminate_at.reset();
    signal_living(SIGTERM);
  }
  if (state_.kill_at && now_ >= *state_.kill_at) kill_all();
}

void Step::send_stops() {
  state_.stop_is_out = true;
  withdraw();
  for (AgentId agent = 0; agent < count(); ++agent) {
    const AgentLife& it = life(agent);
    if (!it.alive || it.report) continue;
    if (!in_view(agent) && !in_before(agent)) {
      tell_to_end(agent, state_.outcome.stop_reason);
    } else if (it.link_open) {
      act<SendStop>(agent, state_.outcome.stop_reason);
    }
  }
}

void Step::settle() {
  if (state_.phase == Phase::kAdmitting && state_.rules.needs_view) publish_first();
  if (!ending() && state_.phase != Phase::kLeaving) finish_if_done();
  if (training()) judge_departed();
  if (training()) restart_if_due();
  if (training()) adopt_if_due();
  if (state_.phase == Phase::kStopping && !state_.stop_is_out && !state_.restart) send_stops();
  if (training()) plan_if_due();
  if (training() || state_.phase == Phase::kAdmitting) start_agents();
  if (state_.phase != Phase::kLeaving && state_.phase != Phase::kEnding) return;
  if (!those([this](AgentId agent) { return life(agent).alive; }).empty()) return;
  state_.phase = Phase::kOver;
  state_.terminate_at.reset();
  state_.kill_at.reset();
}

RunState begin(const Rules& rules) {
  RunState state;
  state.rules = rules;
  state.wanted = rules.agents;
  state.agents.resize(std::max(rules.agents, rules.slots));
  for (std::uint32_t agent = 0; agent < rules.agents; ++agent) {
    state.agents[agent].alive = state.agents[agent].link_open = true;
    state.agents[agent].joining = rules.late;
  }
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
  for (const AgentLife& it : state.agents) {
    consider(it.exit_due);
    consider(it.kill_due);
  }
  if (state.restart && state.restart->enough_at) {
    consider(*state.restart->enough_at + state.rules.gather_limit);
  }
  return next;
}

}  // namespace instep::member
