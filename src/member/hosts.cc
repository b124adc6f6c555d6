#include "member/hosts.h"

#include <algorithm>

#include "base/text.h"

namespace instep::member {
namespace {

std::string value(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string("(none)") : found->second;
}

struct Difference {
  std::string key, one, other;
};

// What two processors do differently; their libraries choose by it how to compute.
bool of_processor(const std::string& key) { return key == "processor" || key == "capability"; }

std::vector<Difference> differences(const HostFacts& one, const HostFacts& other, bool late) {
  std::vector<Difference> out;
  const auto note = [&out](const std::string& key, const auto& a, const auto& b) {
    if (a != b) out.push_back({key, cat(a), cat(b)});
  };
  note("job hash", one.job_hash, other.job_hash);
  note("number of shards", one.shards, other.shards);
  note("number of blocks", one.blocks, other.blocks);
  // One that comes late has no state of its own.
  if (!late) note("first round", one.first_round, other.first_round);
  if (!late) note("state hash", one.state_hash, other.state_hash);
  for (const auto& [key, mine] : one.fingerprint) note(key, mine, value(other.fingerprint, key));
  for (const auto& [key, theirs] : other.fingerprint) {
    if (!one.fingerprint.contains(key)) note(key, value(one.fingerprint, key), theirs);
  }
  return out;
}

std::string counted(std::uint64_t count, const char* what) {
  return cat(count, " ", what, count == 1 ? "" : "s");
}

Error nobody_holds() {
  return {ErrorKind::kUnavailable, "no host is left that holds the state of the run"};
}

// One call of decide_hosts(), as Step is one of decide().
class HostsStep {
 public:
  HostsStep(HostsState state, Nanoseconds now) : state_(std::move(state)), now_(now) {}

  void on(HostJoined& event);
  void on(HostIsReady& event);
  void on(const HostStands& event);
  void on(const HostTook& event);
  void on(const HostLost& event);
  void on(const HostLeaves& event);
  void on(const HostDone& event);
  void on(const HostBroken& event);
  void on(const TimePassed&) {}
  void settle();
  HostsDecision take() { return {std::move(state_), std::move(actions_)}; }

 private:
  HostLife* find(HostId host) {
    const auto found = state_.hosts.find(host);
    return found == state_.hosts.end() ? nullptr : &found->second;
  }
  template <class Test>
  bool all(const Test& test) const {
    return std::all_of(state_.hosts.begin(), state_.hosts.end(),
                       [&](const auto& it) { return test(it.second); });
  }
  template <class T, class... Fields>
  void act(Fields&&... values) {
    actions_.emplace_back(std::in_place_type<T>, T{std::forward<Fields>(values)...});
  }
  void tell(const char* kind, const std::string& reason, const std::string& text) {
    act<Tell>(kind, AgentId{-1}, state_.lineup ? state_.lineup->first_round : std::uint64_t{0},
              reason, 0.0, text);
  }
  std::uint64_t agents() const;
  std::vector<HostId> everybody() const;
  bool over() const;
  void end(std::optional<Error> error);
  std::optional<Error> disagreement(const std::string& name, const HostFacts& facts, bool late);
  void refuse(HostId host, const std::string& why);
  void come_late(HostLife it);
  void admit_late();
  void remove(HostId host, const std::string& why, bool leaves);
  void halt(std::optional<HostId> lost);
  void lose_late();
  void gather();
  void first_lineup();
  void next_lineup();
  void name_newcomers(Lineup& lineup) const;
  Lineup with_those_there(std::uint64_t first_round);
  std::vector<HostWeight> weights() const;
  void tell_lineup(Lineup lineup);

  HostsState state_;
  Nanoseconds now_;
  std::vector<HostsAction> actions_;
};

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

void HostsStep::refuse(HostId host, const std::string& why) {
  state_.gone.insert(host);
  act<Refuse>(host, why);
}

void HostsStep::on(HostJoined& event) {
  const HostId host = event.host;
  if (state_.gone.contains(host) || state_.late.contains(host) || find(host) != nullptr) return;
  if (event.agents == 0 || !(event.link > 0)) {
    return refuse(host, "a host needs an agent and a link");
  }
  HostLife it;
  it.entry = {host, std::move(event.name), std::move(event.address), event.agents};
  it.link = event.link;
  if (state_.phase != HostsPhase::kGathering) return come_late(std::move(it));
  it.empty = state_.rules.first_holds && host != 0;
  state_.hosts.emplace(host, std::move(it));
}

void HostsStep::come_late(HostLife it) {
  const HostId host = it.entry.host;
  std::uint64_t there = agents();
  for (const auto& [id, other] : state_.late) there += other.entry.agents;
  if (there + it.entry.agents > state_.rules.max_agents) {
    return refuse(
        host, cat("the run has ", counted(there, "agent"), " of at most ", state_.rules.max_agents,
                  " (-n MIN:MAX), and the host brings ", it.entry.agents));
  }
  it.empty = true;
  state_.late.emplace(host, std::move(it));
  std::vector<HostEntry> entries;
  for (const auto* hosts : {&state_.hosts, &state_.late}) {
    for (const auto& [id, other] : *hosts) entries.push_back(other.entry);
  }
  act<Begin>(std::move(entries));
}

// Between two line-ups it would only delay the others.
void HostsStep::admit_late() {
  bool any = false;
  for (auto it = state_.late.begin(); it != state_.late.end();) {
    auto& [host, life] = *it;
    if (!life.facts) {
      ++it;
      continue;
    }
    const std::uint32_t shards = state_.facts->second.shards;
    if (const auto why = disagreement(life.entry.name, *life.facts, true)) {
      refuse(host, why->message);
    } else if (state_.hosts.size() >= shards) {
      refuse(host, cat("the job has ", counted(shards, "shard"), " and as many hosts"));
    } else if (all([](const HostLife& other) { return other.empty || !other.done; })) {
      life.ready = any = true;
      state_.hosts.emplace(host, std::move(life));
    } else {
      refuse(host, "the run is at its end");
    }
    it = state_.late.erase(it);
  }
  if (any) halt(std::nullopt);
}

// Between hosts a difference of processors is only told of: each computes its own shards, and what
// is exchanged is the same for all.
std::optional<Error> HostsStep::disagreement(const std::string& name, const HostFacts& facts,
                                             bool late) {
  const auto& [other, known] = *state_.facts;
  const std::vector<Difference> found = differences(facts, known, late);
  const bool processors = std::any_of(found.begin(), found.end(),
                                      [](const Difference& it) { return of_processor(it.key); });
  const auto words = [&, &other = other](const Difference& it) {
    return cat("host ", name, " and host ", other, " differ in ", it.key, ": '", it.one, "' and '",
               it.other, "'");
  };
  for (const Difference& it : found) {
    if (of_processor(it.key) || (it.key == "probe" && processors)) continue;
    return Error{
        ErrorKind::kMismatch,
        cat(words(it), "; hosts that train together need the same job, build and settings")};
  }
  for (const Difference& it : found) {
    if (of_processor(it.key)) {
      tell("warning", it.key, cat(words(it), ": another run may give other bits"));
    }
  }
  return std::nullopt;
}

void HostsStep::on(HostIsReady& event) {
  if (const auto late = state_.late.find(event.host); late != state_.late.end()) {
    late->second.facts = event.facts;
    return;
  }
  HostLife* it = find(event.host);
  if (it == nullptr || it->facts || state_.gone_on) return;
  it->facts = event.facts;
  if (!state_.facts && !it->empty) state_.facts.emplace(it->entry.name, event.facts);
  if (!state_.facts) return;
  for (auto& [host, other] : state_.hosts) {
    if (other.ready || !other.facts) continue;
    const auto why = disagreement(other.entry.name, *other.facts, other.empty);
    if (why) return end(why);
    other.ready = true;
  }
}

void HostsStep::on(const HostStands& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || state_.phase != HostsPhase::kHalting) return;
  if (event.number != state_.number) return;
  it->stands = event.done;
  it->empty = event.empty;
}

void HostsStep::on(const HostTook& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || state_.phase != HostsPhase::kTelling) return;
  if (event.number == state_.number) it->took = true;
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
  const bool enough = agents() >= state_.rules.min_agents && !state_.hosts.empty();
  if (!state_.gone_on) {
    if (!enough) {
      state_.phase = HostsPhase::kGathering;
      // Their agents wait for a state that nobody has yet.
      for (const auto& [id, late] : std::exchange(state_.late, {})) {
        refuse(id, "the run has not begun after all; join again");
      }
      tell("waiting", "",
           cat("waits for agents: ", agents(), " of at least ", state_.rules.min_agents));
    } else if (state_.phase == HostsPhase::kTelling) {
      Lineup next =
          without_hosts(*state_.lineup, {host}, ++state_.number, state_.lineup->first_round);
      name_newcomers(next);
      tell_lineup(std::move(next));
    }
    return;
  }
  if (!state_.hosts.empty() && over()) return;
  if (!enough) {
    return end(Error{ErrorKind::kUnavailable,
                     cat("host ", name, leaves ? " left" : " was lost", " (", why, "), and ",
                         agents(), " of at least ", state_.rules.min_agents,
                         " agents are left; go on with `instep resume` when there are more")});
  }
  halt(host);
}

void HostsStep::halt(std::optional<HostId> lost) {
  state_.phase = HostsPhase::kHalting;
  for (auto& [id, other] : state_.hosts) other.stands.reset();
  act<Halt>(++state_.number, lost, everybody());
}

void HostsStep::on(const HostBroken& event) {
  if (find(event.host) == nullptr || !state_.gone_on) return;
  halt(std::nullopt);
}

// Of two hosts without a link between them one has to go; the first one never is.
void HostsStep::lose_late() {
  if (state_.phase != HostsPhase::kTelling || !state_.told_at) return;
  if (now_ < *state_.told_at + state_.rules.link_limit) return;
  for (auto it = state_.hosts.rbegin(); it != state_.hosts.rend(); ++it) {
    if (it->second.took || it->first == 0) continue;
    const HostId host = it->first;
    state_.told_at = now_;
    return remove(host, "it and other hosts do not reach each other", false);
  }
}

void HostsStep::gather() {
  const std::size_t came = state_.hosts.size() + state_.gone.size();
  if (agents() < state_.rules.min_agents || state_.hosts.empty() || came < state_.rules.min_hosts) {
    return state_.enough_at.reset();
  }
  if (!state_.enough_at) state_.enough_at = now_;
  const bool late = now_ >= *state_.enough_at + state_.rules.gather_limit;
  if (agents() < state_.rules.max_agents && !late) return;
  state_.enough_at.reset();
  state_.phase = HostsPhase::kStarting;
  std::vector<HostEntry> entries;
  for (const auto& [host, it] : state_.hosts) entries.push_back(it.entry);
  act<Begin>(std::move(entries));
}

void HostsStep::tell_lineup(Lineup lineup) {
  for (auto& [host, it] : state_.hosts) it.took = false;
  state_.phase = HostsPhase::kTelling;
  state_.told_at = now_;
  state_.lineup = std::move(lineup);
  act<TellLineup>(*state_.lineup);
}

void HostsStep::first_lineup() {
  const HostFacts& facts = state_.facts->second;
  if (state_.hosts.size() > facts.shards) {
    return end(
        Error{ErrorKind::kInvalid, cat("the job has ", counted(facts.shards, "shard"), " for ",
                                       state_.hosts.size(), " hosts; each needs one at least")});
  }
  Lineup next =
      assign_hosts(++state_.number, facts.first_round, weights(), facts.shards, facts.blocks);
  name_newcomers(next);
  tell_lineup(std::move(next));
}

std::vector<HostWeight> HostsStep::weights() const {
  std::vector<HostWeight> out;
  for (const auto& [host, it] : state_.hosts) out.push_back({host, it.entry.agents, it.link});
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
  next.donor = first;
  name_newcomers(next);
  if (least < most) next.donor = first;
  tell_lineup(std::move(next));
}

// Those that hold no state get it from the first one that does.
void HostsStep::name_newcomers(Lineup& lineup) const {
  for (const auto& [host, it] : state_.hosts) {
    if (it.empty) lineup.newcomers.push_back(host);
    if (!it.empty && !lineup.donor) lineup.donor = host;
  }
  if (lineup.newcomers.empty()) lineup.donor.reset();
}

// As it was but for those that are lost; where somebody comes in, all is spread anew.
Lineup HostsStep::with_those_there(std::uint64_t first_round) {
  std::vector<HostId> lost;
  std::size_t known = 0;
  for (const HostPart& part : state_.lineup->hosts) {
    find(part.host) == nullptr ? lost.push_back(part.host) : void(++known);
  }
  if (known == state_.hosts.size()) {
    return without_hosts(*state_.lineup, lost, state_.number, first_round);
  }
  const HostFacts& facts = state_.facts->second;
  return assign_hosts(state_.number, first_round, weights(), facts.shards, facts.blocks);
}

void HostsStep::settle() {
  if (state_.phase == HostsPhase::kOver) return;
  if (over()) return end({});
  if (state_.phase == HostsPhase::kGathering) gather();
  if (state_.phase == HostsPhase::kStarting && all([](const HostLife& it) { return it.ready; })) {
    first_lineup();
  }
  lose_late();
  if (state_.phase == HostsPhase::kHalting &&
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
}

}  // namespace

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
  if (state.phase == HostsPhase::kTelling && state.told_at) {
    return *state.told_at + state.rules.link_limit;
  }
  if (state.phase != HostsPhase::kGathering || !state.enough_at) return std::nullopt;
  return *state.enough_at + state.rules.gather_limit;
}

}  // namespace instep::member
