// decide_hosts() with model hosts around it that send, finish rounds, measure their lines, get lost
// and leave at random. Words take their time, come twice, or come from hosts that are lost. Repeat
// a seed by the number that a failure shows.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "base/random.h"
#include "base/text.h"
#include "member/hosts.h"

namespace instep::member {
namespace {

constexpr std::uint64_t kFirstRound = 3, kRounds = 12;
constexpr std::uint32_t kShards = 9;
constexpr std::uint64_t kBlocks = 40;

// Hears and says in order. One that the coordinator takes for lost may still exchange for a while.
struct Host {
  bool linked = true, exchanges = true;
  std::uint32_t agents = 1;
  std::deque<HostsAction> inbox;
  std::deque<HostsEvent> outbox;
  std::optional<Lineup> lineup;  // that it took
  std::uint32_t heard = 0;       // newest number
  bool goes = false;             // under that line-up
  std::uint64_t done = kFirstRound;
  bool said_done = false;
  bool ready = false;
  bool empty = false;  // it came late, and has not got the state
};

class Hosts {
 public:
  Hosts(std::uint64_t seed, const HostsRules& rules) : random_(seed), state_(begin_hosts(rules)) {
    for (HostId host = 0; host < 4; ++host) begin(host);
    if (rules.first_holds) say(hosts_.at(0));  // who is there before all others
  }

  void run(int faults) {
    int idle = 0;
    while (idle < 400 && !::testing::Test::HasFailure()) {
      now_ += 20'000'000;
      if (const auto at = next_deadline(state_); at && now_ >= *at) feed(TimePassed{});
      if (faults > 0 && random_.below(40) == 0) {
        --faults;
        hurt();
      }
      const auto host = HostId(random_.below(hosts_.size()));
      idle = step(host) ? 0 : idle + 1;
    }
    check_the_end();
  }

  HostsPhase phase() const { return state_.phase; }
  bool failed() const { return failed_; }
  std::map<std::string, int> seen;

 private:
  void begin(HostId host) {
    Host& it = hosts_[host];
    it.agents = std::uint32_t(1 + random_.below(3));
    it.outbox.emplace_back(HostJoined{host, cat("h", host), "", it.agents});
  }

  bool living(HostId host) const { return state_.hosts.contains(host); }
  bool known(HostId host) const { return living(host) || state_.late.contains(host); }

  void feed(HostsEvent event) {
    const HostsPhase before = state_.phase;
    HostsDecision decision = decide_hosts(std::move(state_), std::move(event), now_);
    state_ = std::move(decision.state);
    EXPECT_TRUE(before != HostsPhase::kOver || decision.actions.empty());
    for (const HostsAction& action : decision.actions) obey(action);
  }

  void post(HostId host, const HostsAction& action) {
    if (hosts_.at(host).linked) hosts_.at(host).inbox.push_back(action);
  }

  void obey(const HostsAction& action) {
    if (const auto* begun = std::get_if<Begin>(&action)) {
      ++seen["begin"];
      std::uint32_t agents = 0;
      for (const HostEntry& it : begun->hosts) {
        EXPECT_TRUE(known(it.host));
        agents += it.agents;
        post(it.host, action);
      }
      EXPECT_EQ(begun->hosts.size(), state_.hosts.size() + state_.late.size());
      EXPECT_TRUE(state_.gone_on || agents >= state_.rules.min_agents);
      if (!state_.late.empty()) {
        EXPECT_LE(agents, state_.rules.max_agents);
        ++seen["late"];
      }
    } else if (const auto* told = std::get_if<TellLineup>(&action)) {
      check(told->lineup);
      for (const HostPart& it : told->lineup.hosts) post(it.host, action);
    } else if (const auto* go = std::get_if<Go>(&action)) {
      EXPECT_EQ(go->number, number_);
      for (const HostId host : go->to) {
        EXPECT_EQ(hosts_.at(host).heard, go->number) << "host " << host << " has not heard of it";
        post(host, action);
      }
      EXPECT_EQ(go->to.size(), state_.lineup->hosts.size());
      ++seen["go"];
      EXPECT_TRUE(agents_there() >= state_.rules.min_agents || stops_ || any_done());
      if (std::exchange(waits_, false)) ++seen["went on"];
    } else if (const auto* halt = std::get_if<Halt>(&action)) {
      EXPECT_GT(halt->number, number_);
      number_ = halt->number;
      EXPECT_FALSE(halt->lost && living(*halt->lost));
      if (!halt->lost) ++seen["broken"];
      for (const HostId host : halt->to) post(host, action);
      // Who is ready comes in as soon as all stand still.
      if (halt->number == state_.number) {
        EXPECT_EQ(halt->to.size(), state_.hosts.size());
      }
      ++seen["halt"];
    } else if (const auto* ask = std::get_if<AskLinks>(&action)) {
      EXPECT_EQ(ask->number, number_);
      for (const HostId host : ask->to) post(host, action);
      ++seen["asked"];
    } else if (const auto* wait = std::get_if<Wait>(&action)) {
      EXPECT_LT(wait->agents, wait->least);
      EXPECT_EQ(wait->agents, agents_there());
      EXPECT_EQ(wait->to.size(), state_.hosts.size());
      EXPECT_GT(wait->limit, 0);
      EXPECT_LE(wait->limit, state_.rules.wait_limit);
      waits_ = true;
      ++seen["waited"];
      if (random_.below(2) == 0) begin(HostId(hosts_.size()));
    } else if (std::holds_alternative<GiveUp>(action)) {
      EXPECT_TRUE(waits_ && agents_there() < state_.rules.min_agents);
      stops_ = true;
      waits_ = false;
      ++seen["waited in vain"];
    } else if (const auto* news = std::get_if<Tell>(&action)) {
      if (news->kind == "slices") ++seen["weighed"];
    } else if (const auto* refused = std::get_if<Refuse>(&action)) {
      hosts_.at(refused->host).linked = hosts_.at(refused->host).exchanges = false;
      ++seen["refused"];
    } else if (const auto* over = std::get_if<EndRun>(&action)) {
      failed_ = over->error.has_value();
      if (failed_) {
        EXPECT_EQ(over->error->kind, ErrorKind::kUnavailable) << over->error->message;
      }
      ++seen[failed_ ? "ended" : "over"];
    }
  }

  void check(const Lineup& lineup) {
    const Status status = validate(lineup, kShards, kBlocks);
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_TRUE(lineup.number > number_ || (halted() && lineup.number == number_));
    number_ = lineup.number;
    std::uint64_t most = 0;
    ASSERT_EQ(lineup.hosts.size(), state_.hosts.size());
    for (const HostPart& part : lineup.hosts) {
      EXPECT_TRUE(living(part.host));
      if (!hosts_.at(part.host).empty) most = std::max(most, hosts_.at(part.host).done);
    }
    // They have halted, so they stand where they say; who is lost since stands anywhere.
    for (const HostPart& part : lineup.hosts) {
      const Host& host = hosts_.at(part.host);
      if (!host.linked) return;
      EXPECT_EQ(host.empty,
                std::binary_search(lineup.newcomers.begin(), lineup.newcomers.end(), part.host));
      if (host.empty) continue;
      EXPECT_LE(most - host.done, 1U);
      EXPECT_TRUE(host.done == most || lineup.donor);
    }
    EXPECT_EQ(lineup.first_round, most);
    if (lineup.donor) {
      EXPECT_EQ(hosts_.at(*lineup.donor).done, most);
      EXPECT_FALSE(hosts_.at(*lineup.donor).empty);
      ++seen["donor"];
    }
  }
  bool halted() const { return state_.gone_on; }
  std::uint64_t agents_there() const {
    std::uint64_t out = 0;
    for (const auto& [host, it] : state_.hosts) out += it.entry.agents;
    return out;
  }
  bool any_done() const {
    return std::any_of(state_.hosts.begin(), state_.hosts.end(),
                       [](const auto& it) { return it.second.done; });
  }

  void hurt() {
    const auto host = HostId(random_.below(hosts_.size()));
    Host& it = hosts_.at(host);
    switch (random_.below(state_.rules.wait_limit > 0 ? 8 : 7)) {
      case 7:
        if (random_.below(4) != 0) return begin(HostId(hosts_.size()));
        stops_ = true;
        return feed(RunStops{});
      case 3:
        if (it.linked) it.outbox.emplace_back(HostBroken{host});
        return;
      case 0:
        return begin(HostId(hosts_.size()));
      case 1:
        if (it.linked) it.outbox.emplace_back(HostLeaves{host});
        return;
      case 2:  // said long ago
        if (!said_.empty()) feed(said_[random_.below(said_.size())]);
        return;
      default:
        if (!it.linked) return;
        it.linked = false;
        it.exchanges = random_.below(3) == 0;
        it.inbox.clear();
        it.outbox.resize(random_.below(it.outbox.size() + 1), HostsEvent(TimePassed{}));
        it.outbox.emplace_back(HostLost{host, "gone"});
    }
  }

  // One thing that the host does, if there is any.
  bool step(HostId host) {
    Host& it = hosts_.at(host);
    if (!it.linked && random_.below(20) == 0) it.exchanges = false;
    switch (random_.below(3)) {
      case 0:
        return say(it);
      case 1:
        return hear(host, it);
      default:
        return exchange(host, it);
    }
  }

  bool say(Host& it) {
    if (it.outbox.empty()) return false;
    const HostsEvent event = it.outbox.front();
    it.outbox.pop_front();
    if (!std::holds_alternative<HostLost>(event) && !std::holds_alternative<HostLeaves>(event)) {
      said_.push_back(event);
    }
    if (std::holds_alternative<HostJoined>(event)) {
      const HostId host = std::get<HostJoined>(event).host;
      it.empty = state_.phase != HostsPhase::kGathering || (state_.rules.first_holds && host > 0);
    }
    feed(event);
    if (random_.below(10) == 0) feed(event);
    return true;
  }

  bool hear(HostId host, Host& it) {
    if (it.inbox.empty()) return false;
    const HostsAction letter = std::move(it.inbox.front());
    it.inbox.pop_front();
    if (std::holds_alternative<Begin>(letter)) {
      if (state_.gone_on && std::exchange(it.ready, true)) return true;
      it.outbox.emplace_back(
          HostIsReady{host, {"job", "state", kFirstRound, kShards, kBlocks, {}}});
    } else if (const auto* halt = std::get_if<Halt>(&letter)) {
      EXPECT_GT(halt->number, it.heard);
      it.heard = halt->number;
      it.goes = false;
      it.outbox.emplace_back(HostStands{host, halt->number, it.done, it.empty});
    } else if (const auto* told = std::get_if<TellLineup>(&letter)) {
      EXPECT_GE(told->lineup.number, it.heard);
      if (!it.empty) {
        EXPECT_LE(it.done, told->lineup.first_round);
        EXPECT_LE(told->lineup.first_round, it.done + 1);
      }
      it.heard = told->lineup.number;
      it.lineup = told->lineup;
      it.goes = false;
      it.outbox.emplace_back(HostTook{host, it.heard});
    } else if (const auto* ask = std::get_if<AskLinks>(&letter)) {
      HostLacks answer{host, ask->number, {}};
      if (random_.below(3) == 0) answer.peers.push_back(HostId(random_.below(hosts_.size())));
      it.outbox.emplace_back(answer);
    } else if (const auto* go = std::get_if<Go>(&letter)) {
      EXPECT_EQ(go->number, it.heard);
      it.goes = true;
    }
    return true;
  }

  // Sends its part of a round, or has all parts of it.
  bool exchange(HostId host, Host& it) {
    if (!it.goes || !it.exchanges) return false;
    if (it.empty || it.done < it.lineup->first_round) {
      const Host& donor = hosts_.at(*it.lineup->donor);
      if (!donor.exchanges) return false;
      EXPECT_GE(donor.done, it.lineup->first_round);
      it.done = it.lineup->first_round;
      if (std::exchange(it.empty, false)) ++seen["got the state"];
      return true;
    }
    if (it.done == kRounds) {
      if (it.said_done || !it.linked) return false;
      it.said_done = true;
      it.outbox.emplace_back(HostDone{host});
      return true;
    }
    auto& sent = sent_[{it.heard, it.done}];
    if (sent.insert(host).second) {
      measure(host, it);
      for (const HostPart& part : it.lineup->hosts) {
        EXPECT_GE(hosts_.at(part.host).heard, it.heard) << "it was sent what it does not know of";
      }
      return true;
    }
    if (sent.size() < it.lineup->hosts.size()) return false;
    ++it.done;
    return true;
  }

  // Host 2's line is a thin one.
  void measure(HostId host, Host& it) {
    if (!it.linked) return;
    for (std::uint64_t times = random_.below(4); times > 0; --times) {
      it.outbox.emplace_back(
          HostMeasured{host, it.heard, {1, 1e6, host == 2 ? 1e6 : 9e6, host == 2, {}}});
    }
  }

  void check_the_end() {
    ++seen["end"];
    if (state_.phase == HostsPhase::kOver || state_.phase == HostsPhase::kGathering) return;
    ADD_FAILURE() << "no progress in phase " << int(state_.phase) << " at number " << number_;
  }

  Random random_;
  HostsState state_;
  Nanoseconds now_ = 0;
  std::map<HostId, Host> hosts_;
  std::vector<HostsEvent> said_;
  // Who sent its part of a round under a line-up.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::set<HostId>> sent_;
  std::uint32_t number_ = 0;
  bool failed_ = false;
  bool waits_ = false, stops_ = false;
};

TEST(DecideHosts, GoesOnWhateverHappensToHosts) {
  std::map<std::string, int> seen;
  for (std::uint64_t seed = 0; seed < 5000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed * 3 + 1);
    HostsRules rules;
    rules.min_agents = std::uint32_t(1 + random.below(5));
    rules.max_agents = rules.min_agents + std::uint32_t(random.below(6));
    rules.first_holds = random.below(3) == 0;
    rules.link_limit = 1'000'000'000;  // some fifty things that hosts do
    if (random.below(2) == 0) rules.wait_limit = rules.link_limit * (1 + random.below(6));
    Hosts hosts(seed, rules);
    hosts.run(int(random.below(8)));
    for (const auto& [what, count] : hosts.seen) seen[what] += count;
    if (hosts.phase() == HostsPhase::kGathering) ++seen["waits"];
  }
  for (const char* what :
       {"begin", "go", "halt", "refused", "donor", "ended", "waits", "late", "got the state",
        "weighed", "asked", "waited", "waited in vain", "went on"}) {
    EXPECT_GT(seen[what], 50) << what;
  }
  EXPECT_GT(seen["over"], 2000);
}

}  // namespace
}  // namespace instep::member
