// How hosts come into a run: before it begins, and later.
#include "member/hosts_step.h"

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

}  // namespace

void HostsStep::refuse(HostId host, const std::string& why) {
  state_.gone.insert(host);
  act<Refuse>(host, why);
}

void HostsStep::on(HostJoined& event) {
  const HostId host = event.host;
  if (state_.gone.contains(host) || state_.late.contains(host) || find(host) != nullptr) return;
  if (event.agents == 0) return refuse(host, "a host needs an agent");
  HostLife it;
  it.entry = {host, std::move(event.name), std::move(event.address), event.agents};
  if (state_.phase != HostsPhase::kGathering) return come_late(std::move(it));
  it.empty = state_.rules.first_holds && host != kFirstHost;
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
  tell_of_each_other();
}

void HostsStep::tell_of_each_other() {
  std::vector<HostEntry> entries;
  for (const auto* hosts : {&state_.hosts, &state_.late}) {
    for (const auto& [host, it] : *hosts) entries.push_back(it.entry);
  }
  act<Begin>(std::move(entries));
}

// While others go from one line-up to the next it would only delay them.
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
  tell_of_each_other();
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
  name_newcomers(next, kFirstHost);
  tell_lineup(std::move(next));
}

}  // namespace instep::member
