#include "coord/drill.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/text.h"
#include "base/time.h"

namespace instep::coord {
namespace {

using member::AgentId;

// Keeps what a drill does to it, in words.
class FakeRun : public Steering {
 public:
  explicit FakeRun(std::vector<AgentId> agents)
      : members(std::move(agents)), wanted_agents(static_cast<std::uint32_t>(members.size())) {}

  std::uint64_t round() const override { return rounds; }
  std::vector<AgentId> agents() const override { return members; }
  std::uint32_t wanted() const override { return wanted_agents; }
  bool signal(AgentId agent, int signal) override {
    const char* name = signal == SIGKILL ? "kill" : signal == SIGSTOP ? "stop" : "cont";
    did.push_back(cat(name, " ", agent));
    return true;
  }
  Status scale(std::uint32_t) override { return invalid("no drill scales"); }
  Status join() override {
    did.emplace_back("join");
    ++wanted_agents;
    return refusal.empty() ? Status() : Status(invalid(refusal));
  }
  Status leave(AgentId agent) override {
    did.push_back(cat("leave ", agent));
    if (!slow_to_leave) --wanted_agents;
    return {};
  }
  Status flip_bit(std::uint64_t seed) override {
    did.emplace_back("flip");
    flips.insert(seed);
    return {};
  }
  void lose(AgentId agent) {
    members.erase(std::remove(members.begin(), members.end(), agent), members.end());
  }
  // What was done since the last call.
  std::string done() { return instep::join(std::exchange(did, {}), ", "); }

  std::vector<AgentId> members;
  std::uint32_t wanted_agents;
  std::uint64_t rounds = 0;
  std::string refusal;
  bool slow_to_leave = false;  // who is asked has not said yet that it does
  std::vector<std::string> did;
  std::set<std::uint64_t> flips;
};

Drill drill_of(const char* faults, DrillNews news = {}) {
  DrillPlan plan;
  plan.faults = parse_faults(faults).take();
  return make_drill(plan, std::move(news));
}

TEST(Drill, NothingPlannedIsOverAtOnce) {
  FakeRun run({0, 1});
  EXPECT_EQ(make_drill({}, {})(run, 5), std::nullopt);
  EXPECT_EQ(run.done(), "");
}

TEST(Drill, FaultsWaitForTheirRoundAndAreMadeOnce) {
  FakeRun run({0, 1, 2});
  const Drill drill = drill_of("join at 30; kill 2 at 10; leave 0 at 20; flip at 20; kill 1 at 20");
  EXPECT_EQ(drill(run, 0), 1 * kMillisecond);
  run.rounds = 9;
  EXPECT_EQ(drill(run, 7 * kMillisecond), 8 * kMillisecond);
  EXPECT_EQ(run.done(), "");
  run.rounds = 10;
  EXPECT_EQ(drill(run, 8 * kMillisecond), 9 * kMillisecond);
  EXPECT_EQ(run.done(), "kill 2");
  run.rounds = 25;  // a round that was passed over counts too
  EXPECT_EQ(drill(run, 9 * kMillisecond), 10 * kMillisecond);
  EXPECT_EQ(run.done(), "leave 0, flip, kill 1");
  run.rounds = 30;
  EXPECT_EQ(drill(run, 10 * kMillisecond), std::nullopt);
  EXPECT_EQ(run.done(), "join");
  EXPECT_EQ(drill(run, 11 * kMillisecond), std::nullopt);
  EXPECT_EQ(run.done(), "");
}

TEST(Drill, EachFlipHasABitOfItsOwn) {
  FakeRun run({0});
  drill_of("flip at 0; flip at 0; flip at 0")(run, 0);
  EXPECT_EQ(run.flips.size(), 3U);
}

TEST(Drill, AHangEndsAtItsTime) {
  FakeRun run({0, 1});
  const Drill drill = drill_of("hang 1 at 0 for 5s");
  EXPECT_EQ(drill(run, 100), 5 * kSecond + 100);
  EXPECT_EQ(run.done(), "stop 1");
  EXPECT_EQ(drill(run, 4999 * kMillisecond), 5 * kSecond + 100);
  EXPECT_EQ(run.done(), "");
  EXPECT_EQ(drill(run, 5 * kSecond + 100), std::nullopt);
  EXPECT_EQ(run.done(), "cont 1");
}

TEST(Drill, OverlappingHangsEndWithTheLast) {
  FakeRun run({0, 1});
  const Drill drill = drill_of("hang 1 at 0 for 3s; hang 1 at 5 for 1s; hang 1 at 6 for 9s");
  drill(run, 0);
  run.rounds = 5;
  drill(run, kSecond);
  EXPECT_EQ(run.done(), "stop 1");
  run.rounds = 6;
  EXPECT_EQ(drill(run, 2 * kSecond), 11 * kSecond);
  EXPECT_EQ(drill(run, 11 * kSecond), std::nullopt);
  EXPECT_EQ(run.done(), "cont 1");
}

// Its slot may be another's by then: one that hangs is forgotten with its membership.
TEST(Drill, AHangEndsWithItsAgent) {
  FakeRun run({0, 1});
  const Drill drill = drill_of("hang 1 at 0 for 5s");
  drill(run, 0);
  run.lose(1);
  EXPECT_EQ(drill(run, 10 * kMillisecond), std::nullopt);
  EXPECT_EQ(run.done(), "stop 1, cont 1");
  run.members.push_back(1);
  EXPECT_EQ(drill(run, 5001 * kMillisecond), std::nullopt);
  EXPECT_EQ(run.done(), "");
}

TEST(Drill, ASlowAgentRunsItsPartOfTheTime) {
  FakeRun run({0, 1, 2, 3});
  const Drill drill = drill_of("slow 3 by 4x at 0");
  std::int64_t now = 0, stopped_at = -1, stopped = 0;
  while (now < kSecond) {
    const auto next = drill(run, now);
    ASSERT_TRUE(next);
    ASSERT_GT(*next, now);
    const std::string did = run.done();
    if (did == "stop 3") stopped_at = now;
    if (did == "cont 3") stopped += now - stopped_at;
    now = *next;
  }
  EXPECT_NEAR(static_cast<double>(stopped), 750.0 * kMillisecond, 20.0 * kMillisecond);
  run.lose(3);
  EXPECT_EQ(drill(run, now), std::nullopt);
}

TEST(Drill, ASlowAgentThatHangsStaysStopped) {
  FakeRun run({0, 1});
  const Drill drill = drill_of("slow 1 by 2x at 0; hang 1 at 3 for 1s");
  EXPECT_EQ(drill(run, 0), kMillisecond);  // a fault waits
  run.rounds = 3;
  EXPECT_EQ(drill(run, 12 * kMillisecond), 1012 * kMillisecond);
  EXPECT_EQ(drill(run, 25 * kMillisecond), 1012 * kMillisecond);  // where it would run
  EXPECT_EQ(run.done(), "stop 1");
  const auto next = drill(run, 1025 * kMillisecond);
  EXPECT_EQ(next, 1030 * kMillisecond);
  EXPECT_EQ(run.done(), "cont 1");
}

TEST(Drill, TellsWhatItDidAndWhatItCouldNot) {
  FakeRun run({0, 2});
  run.rounds = 7;
  run.refusal = "no room";
  std::vector<std::string> made, missed;
  drill_of("kill 1 at 5; kill 0 at 5; join at 6", [&](const std::string& text, bool well) {
    (well ? made : missed).push_back(text);
  })(run, 0);
  EXPECT_EQ(made, (std::vector<std::string>{"kill 0 at 5"}));
  EXPECT_EQ(missed,
            (std::vector<std::string>{
                "kill 1 at 5: left out, agent 1 is not in the run at round 7; there are 0, 2",
                "join at 6: left out, no room"}));
}

// Runs chaos on virtual time; agents that are hit come back, and rounds go by.
std::vector<std::string> rampage(const char* text, FakeRun& run, std::int64_t seconds,
                                 DrillPlan plan = {}) {
  plan.chaos = parse_chaos(text).take();
  std::vector<std::string> out;
  const Drill drill = make_drill(plan, [&](const std::string& fault, bool made) {
    EXPECT_TRUE(made) << fault;
    out.push_back(fault);
  });
  for (std::int64_t now = 0; now < seconds * kSecond;) {
    const auto next = drill(run, now);
    EXPECT_TRUE(next && *next > now);
    if (!next) break;
    now = *next;
    run.rounds = static_cast<std::uint64_t>(now / (10 * kMillisecond));
    EXPECT_GE(run.wanted_agents, 1U);
  }
  return out;
}

// Chaos that is given its next thousand turns by each call, whatever becomes of the run.
std::function<void()> thousand_turns(const char* text, FakeRun& run) {
  DrillPlan plan;
  plan.chaos = parse_chaos(text).take();
  return [drill = make_drill(plan, {}), &run, now = std::int64_t{0}]() mutable {
    for (int i = 0; i < 1000; ++i) now = *drill(run, now);
  };
}

std::map<std::string, int> count(const std::vector<std::string>& faults) {
  std::map<std::string, int> out;
  for (const std::string& fault : faults) ++out[fault.substr(0, fault.find(' '))];
  return out;
}

TEST(Chaos, HitsAsOftenAndAsEvenlyAsItSays) {
  FakeRun run({0, 1, 2, 3});
  const auto faults = rampage("mtbf=2s,seed=7", run, 4000);
  EXPECT_NEAR(static_cast<double>(faults.size()), 2000, 150);
  auto counts = count(faults);
  for (const char* kind : {"kill", "hang"}) EXPECT_NEAR(counts[kind], 500, 80) << kind;
  EXPECT_NEAR(counts["join"] + counts["leave"], 1000, 110);
  EXPECT_GE(run.wanted_agents, 2U);
  EXPECT_LE(run.wanted_agents, 6U);
}

TEST(Chaos, FollowsFromItsSeed) {
  const auto with = [](const char* text) {
    FakeRun run({0, 1, 2});
    return rampage(text, run, 100);
  };
  EXPECT_EQ(with("mtbf=1s,seed=7"), with("mtbf=1s,seed=7"));
  EXPECT_NE(with("mtbf=1s,seed=7"), with("mtbf=1s,seed=8"));
}

TEST(Chaos, MakesOnlyTheKindsAskedFor) {
  FakeRun run({0, 1, 2});
  EXPECT_EQ(count(rampage("mtbf=1s,kinds=kill", run, 100)).size(), 1U);
  FakeRun growing({0, 1, 2});
  rampage("mtbf=1s,kinds=join", growing, 100);
  EXPECT_EQ(growing.wanted_agents, 4U);  // and no further
  FakeRun shrinking({0, 1, 2, 3, 4, 5, 6, 7});
  DrillPlan plan;
  plan.least_wanted = 5;
  rampage("mtbf=1s,kinds=leave", shrinking, 100, plan);
  EXPECT_EQ(shrinking.wanted_agents, 5U);
}

TEST(Chaos, LeavesThoseThatAreNeeded) {
  FakeRun run({0, 1});
  DrillPlan plan;
  plan.least_members = 2;
  EXPECT_TRUE(rampage("mtbf=1s,kinds=kill+hang", run, 100, plan).empty());
  FakeRun alone({0});
  EXPECT_TRUE(rampage("mtbf=1s,kinds=leave", alone, 100).empty());
}

// Both agents of a run were asked before the first had said a word: none was left.
TEST(Chaos, AsksNobodyElseToLeaveBeforeOneHasLeft) {
  FakeRun run({0, 1, 2, 3, 4, 5, 6, 7});
  run.slow_to_leave = true;
  const auto pass = thousand_turns("mtbf=10ms,kinds=leave", run);
  pass();
  ASSERT_EQ(run.did.size(), 1U);
  --run.wanted_agents;
  pass();
  ASSERT_EQ(run.did.size(), 2U);
  run.lose(static_cast<AgentId>(run.did[1].back() - '0'));
  pass();
  EXPECT_EQ(run.did.size(), 3U);
}

// Three deaths without a round in between end a run, as a job that kills its agents would.
TEST(Chaos, LetsARoundBeFinishedBetweenItsHits) {
  FakeRun run({0, 1, 2});
  const auto pass = thousand_turns("mtbf=10ms,kinds=kill", run);
  pass();
  EXPECT_EQ(run.did.size(), 2U);
  ++run.rounds;
  pass();
  EXPECT_EQ(run.did.size(), 4U);
}

TEST(Chaos, HitsNobodyWhereNobodyIs) {
  FakeRun run({});
  run.wanted_agents = 2;
  EXPECT_TRUE(rampage("mtbf=1s,kinds=kill+hang+leave", run, 50).empty());
}

}  // namespace
}  // namespace instep::coord
