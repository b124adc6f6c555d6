#include "member/hosts.h"

#include <algorithm>

#include "base/text.h"
#include "member/hosts_step.h"

namespace instep::member {
namespace {

Error nobody_holds() {
  return {ErrorKind::kUnavailable, "no host is left that holds the state of the run"};
}

}  // namespace

std::uint64_t HostsStep::agents() const {
  std::uint64_t out = 0;
  for (const auto& [host, it] : state_.hosts) out += it.entry.agents;
  return out;
}

std::vector<HostId> HostsStep::everybody() const {
  std::vector<HostId> out;
  for (const auto& [host, it] : state_.hosts) out.push_back(host);
  return out;
}

void HostsStep::end(std::optional<Error> error) {
  state_.phase = HostsPhase::kOver;
  act<EndRun>(std::move(error));
}

// Those that hold the state are done, so nobody gives it to others any more.
bool HostsStep::over() const {
  return state_.gone_on && all([](const HostLife& it) { return it.done || it.empty; }) &&
         !all([](const HostLife& it) { return it.empty; });
}

void HostsStep::on(const HostStands& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || event.number != state_.number) return;
  // Unasked: it has got the state, and is one of those that the end waits for.
  if (state_.phase == HostsPhase::kRunning && !event.empty) it->empty = false;
  if (state_.phase != HostsPhase::kHalting) return;
  it->stands = event.done;
  it->empty = event.empty;
}

void HostsStep::on(const HostTook& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || state_.phase != HostsPhase::kTelling) return;
  if (event.number != state_.number) return;
  it->took = true;
  if (it->lacks) it->lacks->clear();
}

void HostsStep::on(const HostLost& event) { remove(event.host, event.why, false); }
void HostsStep::on(const HostLeaves& event) {
  remove(event.host, "its agents were asked to", true);
}

void HostsStep::on(const HostDone& event) {
  HostLife* it = find(event.host);
  if (it != nullptr && state_.gone_on) it->done = true;
}

void HostsStep::remove(HostId host, const std::string& why, bool leaves) {
  if (const auto late = state_.late.find(host); late != state_.late.end()) {
    tell(leaves ? "left" : "died", why,
         cat("host ", late->second.entry.name, leaves ? " leaves" : " is lost",
             " before it came in (", why, ")"));
    state_.late.erase(late);
    state_.gone.insert(host);
    return;
  }
  const HostLife* it = find(host);
  if (it == nullptr) return;
  const std::string name = it->entry.name;
  state_.hosts.erase(host);
  state_.gone.insert(host);
  tell(leaves ? "left" : "died", why,
       cat("host ", name, leaves ? " leaves" : " is lost", " (", why, "); ",
           counted(agents(), "agent"), " on ", counted(state_.hosts.size(), "host"),
           state_.hosts.size() == 1 ? " is" : " are", " left"));
  const bool held = !all([](const HostLife& other) { return other.empty; });
  const bool needed = state_.rules.first_holds || (state_.gone_on && !state_.hosts.empty());
  if (!held && needed) return end(nobody_holds());
  if (state_.phase == HostsPhase::kGathering) return;
  if (!state_.gone_on) {
    if (agents() < state_.rules.min_agents || state_.hosts.empty()) {
      state_.phase = HostsPhase::kGathering;
      // Their agents wait for a state that nobody has yet.
      for (const auto& [id, late] : std::exchange(state_.late, {})) {
        refuse(id, "the run has not begun after all; join again");
      }
      tell("waiting", "",
           cat("waits for agents: ", agents(), " of at least ", state_.rules.min_agents));
    } else if (state_.phase == HostsPhase::kTelling) {
      tell_anew();
    }
    return;
  }
  if (!state_.hosts.empty() && over()) return;
  state_.loss = cat("host ", name, leaves ? " left" : " was lost", " (", why, ")");
  const bool waits = state_.rules.wait_limit > 0 && !state_.hosts.empty();
  if (!waits && !enough_are_left(state_)) return end(too_few_left());
  halt(host);
}

void HostsStep::halt(std::optional<HostId> lost) {
  state_.phase = HostsPhase::kHalting;
  for (auto& [id, other] : state_.hosts) other.stands.reset();
  act<Halt>(++state_.number, lost, everybody());
}

void HostsStep::on(const HostBroken& event) {
  if (find(event.host) == nullptr) return;
  if (state_.gone_on) return halt(std::nullopt);
  // Some may have taken it with the link that is no more.
  if (state_.phase == HostsPhase::kTelling) tell_anew();
}

// Before the first Go: nobody has exchanged anything.
void HostsStep::tell_anew() {
  Lineup next = keep_hosts(*state_.lineup, weights(), ++state_.number, state_.lineup->first_round);
  name_newcomers(next, kFirstHost);
  tell_lineup(std::move(next));
}

void HostsStep::tell_lineup(Lineup lineup) {
  for (auto& [host, it] : state_.hosts) it.took = false;
  forget_lines();
  state_.phase = HostsPhase::kTelling;
  state_.told_at = now_;
  state_.asked = false;
  state_.lineup = std::move(lineup);
  act<TellLineup>(*state_.lineup);
}

// A line that nobody has measured is taken for as good as any.
std::vector<HostWeight> HostsStep::weights() const {
  double best = 0;
  for (const auto& [host, it] : state_.hosts) best = std::max(best, it.line.value_or(0));
  if (best == 0) best = 1;
  std::vector<HostWeight> out;
  for (const auto& [host, it] : state_.hosts) {
    out.push_back({host, it.entry.agents, it.line.value_or(best)});
  }
  return out;
}

// The result of a round needs all hosts, so nobody can have that of the next one, and who lacks it
// is one behind at most.
void HostsStep::next_lineup() {
  std::optional<HostId> first;
  std::uint64_t least = ~std::uint64_t{0};
  for (const auto& [host, it] : state_.hosts) {
    if (it.empty) continue;
    if (!first || *it.stands > *state_.hosts[*first].stands) first = host;
    least = std::min(least, *it.stands);
  }
  if (!first) return end(nobody_holds());
  const std::uint64_t most = *state_.hosts[*first].stands;
  if (most - least > 1) {
    return end(Error{ErrorKind::kInternal, cat("hosts stand ", most - least, " rounds apart, at ",
                                               least, " and ", most)});
  }
  Lineup next = with_those_there(most);
  if (least < most) next.donor = first;
  name_newcomers(next, *first);
  tell_lineup(std::move(next));
}

// Those that hold no state get it from `holder`.
void HostsStep::name_newcomers(Lineup& lineup, HostId holder) const {
  for (const auto& [host, it] : state_.hosts) {
    if (it.empty) lineup.newcomers.push_back(host);
  }
  if (!lineup.newcomers.empty()) lineup.donor = holder;
}

// As it was but for those that are lost; where somebody comes in, all is spread anew.
Lineup HostsStep::with_those_there(std::uint64_t first_round) {
  const std::vector<HostWeight> there = weights();
  if (all([this](const HostLife& it) {
        return part_of(*state_.lineup, it.entry.host) != nullptr;
      })) {
    return keep_hosts(*state_.lineup, there, state_.number, first_round);
  }
  const HostFacts& facts = state_.facts->second;
  return assign_hosts(state_.number, first_round, there, facts.shards, facts.blocks);
}

void HostsStep::settle() {
  if (state_.phase == HostsPhase::kOver) return;
  if (over()) return end({});
  if (state_.phase == HostsPhase::kGathering) gather();
  if (state_.phase == HostsPhase::kStarting && all([](const HostLife& it) { return it.ready; })) {
    first_lineup();
  }
  part_those_apart();
  // Those that are left may all be done.
  if (state_.phase != HostsPhase::kOver && over()) return end({});
  if (too_few(state_) && !state_.late.empty()) admit_late();
  wait_for_hosts();
  if (state_.phase == HostsPhase::kHalting && !too_few(state_) &&
      all([](const HostLife& it) { return it.stands.has_value(); })) {
    next_lineup();
  }
  if (state_.phase == HostsPhase::kTelling && all([](const HostLife& it) { return it.took; })) {
    state_.phase = HostsPhase::kRunning;
    state_.gone_on = true;
    act<Go>(state_.number, everybody());
  }
  // Last: nothing else may happen for a long time.
  if (state_.phase == HostsPhase::kRunning && !state_.late.empty()) admit_late();
  if (state_.phase == HostsPhase::kRunning) weigh();
}

HostsState begin_hosts(const HostsRules& rules) {
  HostsState state;
  state.rules = rules;
  return state;
}

HostsDecision decide_hosts(HostsState state, HostsEvent event, Nanoseconds now) {
  if (state.phase == HostsPhase::kOver) return {std::move(state), {}};
  HostsStep step(std::move(state), now);
  std::visit([&step](auto& it) { step.on(it); }, event);
  step.settle();
  return step.take();
}

std::optional<Nanoseconds> next_deadline(const HostsState& state) {
  if (const auto& waiting = state.waiting) {
    if (waiting->coming) return std::nullopt;
    return waiting->since + state.rules.wait_limit;
  }
  if (state.phase == HostsPhase::kTelling) {
    if (state.asked || !state.told_at) return std::nullopt;
    return *state.told_at + state.rules.link_limit;
  }
  if (state.phase != HostsPhase::kGathering || !state.enough_at) return std::nullopt;
  return *state.enough_at + state.rules.gather_limit;
}

}  // namespace instep::member
