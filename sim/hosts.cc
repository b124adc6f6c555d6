#include "hosts.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"

namespace instep::sim {
namespace {

constexpr std::uint32_t kSlots = 8;
constexpr Nanoseconds kTooLong = 90 * kSecond;  // without a round

}  // namespace

Hosts::Hosts(const Options& options, const Job& job, Random& random, Counts& counts)
    : options_(options),
      job_(job),
      random_(random),
      counts_(counts),
      timeline_(random),
      oracle_(job, job.rounds + 2),
      net_(timeline_, random, counts) {
  std::vector<std::uint32_t> agents;
  member::HostsRules rules;
  rules.max_agents = 0;
  rules.min_hosts = options.hosts;
  for (HostId host = 0; host < options.hosts; ++host) {
    agents.push_back(1 + static_cast<std::uint32_t>(random.below(3)));
    rules.max_agents += agents.back();
  }
  for (const std::uint32_t count : agents) add(count, false);
  if (Random elastic(mix(options.seed, 201)); elastic.below(2) == 0) {
    rules.min_agents = rules.max_agents - static_cast<std::uint32_t>(elastic.below(2));
    rules.wait_limit = (1 + static_cast<Nanoseconds>(elastic.below(30))) * kSecond;
  }
  // Room for others.
  if (random.below(2) == 0) rules.max_agents += 1 + static_cast<std::uint32_t>(random.below(6));
  Hub::Plan plan;
  plan.rules = rules;
  plan.agents = agents.front();
  plan.plant = options.plant;
  plan.acts = [this](const member::HostsAction& action) { watch(action); };
  plan.lost = [this](HostId host, const std::string& why) {
    trace(cat("the hub loses host ", host, ": ", why));
    counts_.note("hosts lost");
    if (hosts_[host]->fate == One::Fate::kWell) {
      throw Violation(cat("the hub loses host ", host, ", which is well: ", why));
    }
  };
  hub_ = std::make_unique<Hub>(*hosts_[0]->loop, net_, *hosts_[0]->bridge, std::move(plan));
  hosts_[0]->loop->post([this] { hub_->begin(); });
  plan_faults();
}

Hosts::~Hosts() = default;

void Hosts::add(std::uint32_t agents, bool late) {
  const auto host = static_cast<HostId>(hosts_.size());
  One& it = *hosts_.emplace_back(std::make_unique<One>());
  Place place;
  place.host = host;
  place.agents = agents;
  place.late = late;
  if (late) it.fate = One::Fate::kComes;
  place.faults = random_.below(4);
  place.ends = [this, host] { ends(host); };
  place.begins = [this, host](std::uint64_t round) { round_begun(host, round); };
  it.memory = std::make_unique<Memory>(job_, kSlots);
  it.cluster = std::make_unique<Cluster>(options_, job_, *it.memory, oracle_, timeline_, random_,
                                         counts_, &place);
  it.loop = std::make_unique<Loop>(timeline_, it.cluster.get());
  Bridge::Plan plan;
  plan.host = host;
  plan.plant = options_.plant;
  plan.late = late;
  plan.news = [&it] { it.cluster->bridge_has_news(); };
  plan.note = [this](const char* what) { counts_.note(what); };
  plan.tell_hub = [this, host](const wire::HostMessage& message) {
    host == 0 ? hub_->hear(host, message) : hosts_[host]->link->send(message);
  };
  it.bridge = std::make_unique<Bridge>(*it.loop, net_, job_, *it.memory, std::move(plan));
  it.cluster->use(*it.bridge);
  Network::Node node;
  node.loop = it.loop.get();
  node.accept = [this, host](const std::shared_ptr<Link>& link, const wire::HostMessage& message) {
    return host == 0 ? hub_->first(link, message)
                     : hosts_[host]->bridge->take_peer(link->there(), link);
  };
  net_.add(host, std::move(node));
  if (host == 0) return it.bridge->say(DataCame{});
  it.link = std::make_unique<HubLink>(
      *it.loop, net_, host, agents,
      HubLink::Handler{
          [this, host](const wire::HostMessage& message) {
            Bridge& bridge = *hosts_[host]->bridge;
            if (std::holds_alternative<wire::HostWelcome>(message)) {
              return bridge.say(DataCame{});
            }
            bridge.hear(message);
          },
          [this, host](const std::string& why) { hosts_[host]->bridge->lose_hub(why); }});
}

// As ~FirstHost() and ~JoinedHost(): its last words go before it.
void Hosts::ends(HostId host) {
  One& it = *hosts_[host];
  it.loop->post([this, host, &it] {
    if (it.link) it.link->close();
    it.loop->post([this, host, &it] {
      net_.end(host, it.link != nullptr);
      it.loop->end();
    });
  });
}

void Hosts::trace(const std::string& what) const {
  if (options_.trace) {
    std::printf("%12.3f ms  %s\n", static_cast<double>(timeline_.now()) * 1e-6, what.c_str());
  }
}

void Hosts::watch(const member::HostsAction& action) {
  timeline_.note(action.index());
  if (const auto* told = std::get_if<member::TellLineup>(&action)) {
    break_in_lineup();
    const member::Lineup& lineup = told->lineup;
    const Status valid = member::validate(lineup, job_.shards, job_.space.blocks());
    if (!valid.ok()) throw Violation(cat("a line-up is told: ", valid.error().message));
    counts_.note(lineup.donor ? "line-ups with a donor" : "line-ups");
    trace(cat("the hub tells line-up ", lineup.number, " from round ", lineup.first_round, " of ",
              lineup.hosts.size(), " hosts", lineup.donor ? cat(", donor ", *lineup.donor) : "",
              lineup.newcomers.empty() ? "" : ", with newcomers"));
  } else if (const auto* halt = std::get_if<member::Halt>(&action)) {
    counts_.note(halt->lost ? "halts without a host" : "halts");
    trace(cat("the hub halts all for line-up ", halt->number));
  } else if (std::holds_alternative<member::AskLinks>(action)) {
    counts_.note("hosts asked for their links");
    trace("the hub asks all which links they lack");
  } else if (const auto* refused = std::get_if<member::Refuse>(&action)) {
    counts_.note("hosts refused");
    const One::Fate fate = hosts_[refused->host]->fate;
    if (fate == One::Fate::kComes) counts_.note("hosts refused that came late");
    if (fate == One::Fate::kWell) {
      throw Violation(cat("host ", refused->host, " is refused: ", refused->why));
    }
  } else if (const auto* news = std::get_if<member::Tell>(&action)) {
    trace(cat("the hub tells: ", news->text));
  } else if (const auto* wait = std::get_if<member::Wait>(&action)) {
    watch_wait(*wait);
  } else if (std::holds_alternative<member::GiveUp>(action)) {
    if (timeline_.now() < waits_until_) throw Violation("the hub gives up too early");
    counts_.note("waits in vain");
    trace("the hub gives up");
    stop_asked_ = true;
    begun_at_wait_ = 0;
  } else if (std::holds_alternative<member::Go>(action)) {
    watch_go();
  } else if (const auto* over = std::get_if<member::EndRun>(&action)) {
    counts_.note(over->error ? "runs ended by the hub" : "runs that all have done");
    if (over->error) throw Violation(cat("the hub ends the run: ", over->error->message));
  }
}

void Hosts::watch_go() {
  if (begun_at_wait_ > 0) counts_.note("waits that hosts ended, or a stop");
  begun_at_wait_ = 0;
  const member::HostsState& state = hub_->state();
  std::uint32_t agents = 0;
  bool done = false;
  for (const auto& [host, it] : state.hosts) {
    agents += it.entry.agents;
    done = done || it.done;
  }
  if (agents < state.rules.min_agents && !done && !stop_asked_) {
    throw Violation(cat("the hub lets ", agents, " agents go on"));
  }
}

void Hosts::watch_wait(const member::Wait& wait) {
  trace(cat("the hub waits ", wait.limit / kMillisecond, " ms: ", wait.agents, " of ", wait.least,
            " agents are there"));
  counts_.note("waits for hosts");
  if (begun_at_wait_ == 0) begun_at_wait_ = begun_;
  waits_until_ = timeline_.now() + wait.limit;
  for (const HostId host : wait.to) {
    hosts_[host]->cluster->stands_still(waits_until_);
  }
  for (std::uint64_t many = random_.below(4); many > 0; --many) {
    const Nanoseconds after = timeline_.upto(wait.limit + wait.limit / 8);
    timeline_.push(after, *this, static_cast<std::uint32_t>(What::kInWait), -1, 0);
  }
}

bool Hosts::over() const {
  return std::all_of(hosts_.begin(), hosts_.end(),
                     [](const auto& it) { return it->cluster->gone(); });
}

// How a host ended that was not killed.
void Hosts::check(HostId host) const {
  const One& one = *hosts_[host];
  const Cluster& it = *one.cluster;
  const auto wrong = [&](const std::string& what) {
    throw Violation(cat("host ", host, " ", what, ": ", member::describe(*it.outcome())));
  };
  if (one.fate == One::Fate::kDead) return;
  const member::Reason reason = it.outcome()->reason;
  // The run was over before it came in.
  if (one.fate == One::Fate::kComes && reason == member::Reason::kAbandoned) return;
  if (one.fate == One::Fate::kGoes && reason == member::Reason::kAbandoned) return;
  const bool out = reason == member::Reason::kLauncher && it.orphaned().empty();
  if (one.fate != One::Fate::kWell && out) return;
  if (reason != member::Reason::kFinished && reason != member::Reason::kStopped) wrong("ended");
  if (reason == member::Reason::kFinished && it.done() != job_.rounds) {
    wrong(cat("finished after ", it.done(), " of ", job_.rounds, " rounds"));
  }
  const bool may_stop = stop_asked_ || !it.orphaned().empty();
  if (reason == member::Reason::kStopped && !may_stop) wrong("stopped by itself");
  if (!it.orphaned().empty() && one.fate == One::Fate::kWell) wrong("lost the hub");
  if (it.done() < one.owes) wrong(cat("did not finish round ", one.owes - 1));
  it.check_state_at_end();
}

// Those that nothing happened to end after the same round.
void Hosts::check_together() const {
  const Cluster* first = nullptr;
  for (const auto& it : hosts_) {
    if (it->fate != One::Fate::kWell) continue;
    if (first == nullptr) first = it->cluster.get();
    if (it->cluster->done() == first->done()) continue;
    throw Violation(
        cat("hosts end after ", first->done(), " and ", it->cluster->done(), " rounds"));
  }
}

Report Hosts::run() {
  Report report;
  try {
    while (!over()) {
      if (!timeline_.step()) throw Violation("nothing is left to happen");
      for (const auto& it : hosts_) {
        running_cluster = it->cluster.get();
        it->cluster->check_progress(kTooLong);
      }
    }
    running_cluster = nullptr;
    for (HostId host = 0; host < hosts_.size(); ++host) check(host);
    check_together();
  } catch (const Violation& violation) {
    report.violation = violation.what();
    if (running_cluster != nullptr) {
      report.violation = cat("host ", running_cluster->host(), ": ", report.violation);
    }
    trace(cat("VIOLATION: ", report.violation));
  }
  running_cluster = nullptr;
  report.faults = injected_;
  for (const auto& it : hosts_) {
    report.rounds = std::max(report.rounds, it->cluster->done());
    report.faults += it->cluster->injected();
  }
  report.hash = timeline_.hash();
  report.time_ns = timeline_.now();
  report.events = timeline_.events();
  return report;
}

Report simulate_hosts(const Options& options) {
  const Job job = Job::random(options.seed, options.rounds, options.hosts);
  Random random(mix(options.seed, 200));
  Counts counts;
  Hosts hosts(options, job, random, counts);
  Report report = hosts.run();
  report.counts = std::move(counts);
  return report;
}

}  // namespace instep::sim
