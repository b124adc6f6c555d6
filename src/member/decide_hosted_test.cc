#include <gtest/gtest.h>
#include <signal.h>

#include "member/testing.h"

namespace instep::member {
namespace {

using Shards = std::vector<std::uint32_t>;

Rules hosted(std::uint32_t agents) {
  Rules rules;
  rules.agents = agents;
  rules.slots = 8;
  rules.hosted = true;
  return rules;
}

// A host whose agents train with shards 0 to 3 of 8, from round 3 on.
struct Host : Driver {
  explicit Host(std::uint32_t agents, const Shards& mine = {0, 1, 2, 3}) : Driver(hosted(agents)) {
    feed(Prepared{});
    for (AgentId k = 0; k < count(); ++k) hear(k, hello(k));
    for (AgentId k = 0; k < count(); ++k) hear(k, ready());
    feed(Adopted{mine, 3});
  }
  // All agents are in the round under the view, and compute.
  void at_round(std::uint64_t round, std::uint32_t view, const std::vector<AgentId>& agents) {
    std::vector<Words> words(8);
    for (const AgentId agent : agents) {
      words[std::size_t(agent)] = {round_op(round), round_op(round), view, view,
                                   ++beats_,        Busy::kComputing};
    }
    now += kMillisecond * 50;
    feed(Observed{words});
  }
  // All that were asked promise; gives the plan's number.
  std::uint32_t promise(const std::vector<AgentId>& agents, std::uint64_t round) {
    const std::uint32_t plan = asked<SendPropose>().back().propose.number;
    for (const AgentId agent : agents) hear(agent, wire::Promise{plan, true, false, round});
    return plan;
  }
  // One dies in round 5 and another comes in by a planned view, which is published.
  AgentId join() {
    feed(Exited{1, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
    const AgentId joiner = asked<Start>().back().agent;
    hear(joiner, hello(joiner));
    hear(joiner, ready());
    at_round(6, 2, {0});
    promise({0}, 6);
    return joiner;
  }
  std::size_t views() const { return asked<Publish>().size(); }
  const View& view() const { return *state.view; }

 private:
  std::uint32_t beats_ = 0;
};

TEST(DecideHosted, AllReadyWaitForTheirShards) {
  Driver driver(hosted(2));
  driver.feed(Prepared{});
  for (const AgentId agent : {0, 1}) driver.hear(agent, hello(agent));
  driver.hear(0, ready());
  EXPECT_TRUE(driver.asked<HostReady>().empty());
  driver.hear(1, ready());
  EXPECT_EQ(driver.asked<HostReady>().size(), 1U);
  driver.pass(kMillisecond);
  EXPECT_EQ(driver.asked<HostReady>().size(), 1U);
  EXPECT_TRUE(driver.asked<Publish>().empty());
  EXPECT_EQ(driver.state.phase, Phase::kAdmitting);
  const Shards mine = {4, 5, 6};
  driver.feed(Adopted{mine, 3});
  ASSERT_EQ(driver.asked<Publish>().size(), 1U);
  EXPECT_EQ(driver.asked<Publish>()[0].view,
            assign({1, 1}, gather_op(3, 0), {0, 1}, 8, 100, Owners::kAll, 0, &mine));
}

TEST(DecideHosted, AgentsOfAHostThatCameLateTakeTheStateThatComes) {
  Rules rules = hosted(2);
  rules.late = true;
  Driver driver(rules);
  driver.feed(Prepared{});
  for (const AgentId agent : {0, 1}) driver.hear(agent, hello(agent));
  for (const SendWelcome& it : driver.asked<SendWelcome>()) EXPECT_TRUE(it.joining);
  for (const AgentId agent : {0, 1}) driver.hear(agent, ready());
  EXPECT_EQ(driver.asked<HostReady>().size(), 1U);
  const Shards mine = {4, 5, 6};
  driver.feed(Adopted{mine, 30});
  EXPECT_TRUE(driver.asked<Publish>().empty());
  driver.feed(BookTaken{30});
  ASSERT_EQ(driver.asked<Publish>().size(), 1U);
  View wanted = assign({1, 1}, round_op(30), {0, 1}, 8, 100, Owners::kAll, 0, &mine);
  wanted.joined = {0, 1};
  wanted.enters_at = round_op(30);
  EXPECT_EQ(driver.asked<Publish>()[0].view, wanted);
  EXPECT_TRUE(driver.asked<Publish>()[0].with_book);
}

TEST(DecideHosted, ALateHostWhoseAgentsCannotTakeTheStateEnds) {
  Rules rules = hosted(1);
  rules.late = true;
  Driver driver(rules);
  driver.feed(Prepared{});
  driver.hear(0, hello(0));
  wire::Ready own = ready();
  own.joinable = false;
  driver.hear(0, own);
  EXPECT_EQ(driver.state.phase, Phase::kEnding);
  EXPECT_NE(driver.state.outcome.message.find("an optimizer of its own"), std::string::npos);
}

TEST(DecideHosted, OnALateHostADeathBeforeItHasTheStateIsOneOfAStart) {
  Rules rules = hosted(2);
  rules.late = true;
  Driver driver(rules);
  driver.feed(Prepared{});
  driver.hear(0, hello(0));
  driver.hear(1, hello(1));
  driver.hear(0, ready());
  driver.feed(Exited{1, 0, SIGKILL});
  ASSERT_EQ(driver.asked<Start>().size(), 1U);
  driver.hear(1, hello(1));
  EXPECT_TRUE(driver.asked<SendWelcome>().back().joining);
  driver.hear(1, ready());
  EXPECT_EQ(driver.asked<HostReady>().size(), 1U);
}

TEST(DecideHosted, MoreShardsInMidRoundComeOnTopOfThoseThatAreThere) {
  Host host(2);
  ASSERT_EQ(host.views(), 1U);
  host.at_round(5, 1, {0, 1});
  host.feed(Adopted{{0, 1, 2, 3}, 5});
  EXPECT_EQ(host.views(), 1U);  // nothing new
  host.feed(Adopted{{0, 1, 2, 3, 4, 5, 6, 7}, 5});
  ASSERT_EQ(host.views(), 2U);
  EXPECT_EQ(host.view().first_op, round_op(5));
  EXPECT_EQ(host.view().epoch, (Epoch{1, 2}));
  EXPECT_EQ(host.view().shard_agent, (std::vector<AgentId>{0, 0, 1, 1, 0, 0, 1, 1}));
  // What follows knows of it too.
  host.feed(Exited{1, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  EXPECT_EQ(host.view().shard_agent, std::vector<AgentId>(8, 0));
}

TEST(DecideHosted, ARoundMayBeBegunAnewWithTheSameShards) {
  Host host(2);
  host.at_round(5, 1, {0, 1});
  const View before = host.view();
  host.feed(Adopted{{0, 1, 2, 3}, 5, true});
  ASSERT_EQ(host.views(), 2U);
  EXPECT_EQ(host.view().first_op, round_op(5));
  EXPECT_EQ(host.view().shard_agent, before.shard_agent);
  EXPECT_EQ(host.view().epoch, (Epoch{1, 2}));
}

TEST(DecideHosted, ADeathLeavesOtherHostsTheirShards) {
  Host host(2);
  host.at_round(5, 1, {0, 1});
  host.feed(Exited{0, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3}));
  host.feed(Adopted{{0, 1, 2, 3, 6, 7}, 5});
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{1}));
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 6, 7}));
  EXPECT_EQ(host.view().first_op, round_op(5));
}

TEST(DecideHosted, APlanUnderWayIsWithdrawn) {
  Host host(2);
  host.feed(ScaleAsked{1});
  host.at_round(5, 1, {0, 1});
  ASSERT_TRUE(host.state.plan);
  const std::uint32_t plan = host.state.plan->number;
  host.feed(Adopted{{0, 1, 2, 3, 4}, 5});
  EXPECT_FALSE(host.state.plan);
  for (const SendPropose& it : host.asked<SendPropose>(host.newest)) {
    EXPECT_EQ(it.propose.number, plan);
    EXPECT_EQ(it.propose.round, wire::kWithdrawn);
  }
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 4}));
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{0, 1}));
}

TEST(DecideHosted, APlannedViewThatNobodyCanHaveBegunIsVoid) {
  Host host(2);
  const AgentId joiner = host.join();
  ASSERT_EQ(host.view().joined, (std::vector<AgentId>{joiner}));
  ASSERT_GT(host.view().enters_at, round_op(6));
  const std::uint32_t planned = host.view().epoch.number;
  host.feed(Adopted{{0, 1, 2, 3, 4}, 6});
  EXPECT_GT(host.view().epoch.number, planned);
  EXPECT_EQ(host.view().first_op, round_op(6));
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{0}));
  EXPECT_TRUE(host.view().joined.empty());
  EXPECT_EQ(host.view().spares, (std::vector<AgentId>{joiner}));
  EXPECT_FALSE(host.state.before);
  // It comes in with a later one.
  host.at_round(6, host.view().epoch.number, {0});
  host.promise({0}, 6);
  EXPECT_EQ(host.view().joined, (std::vector<AgentId>{joiner}));
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 4}));
}

TEST(DecideHosted, InTheRoundOfAJoinTheNewcomerKeepsItsWayIn) {
  Host host(2);
  const AgentId joiner = host.join();
  const Op op = host.view().enters_at;
  host.feed(Adopted{{0, 1, 2, 3, 4}, rounds_before(op)});
  EXPECT_EQ(host.view().first_op, op);
  EXPECT_EQ(host.view().enters_at, op);
  EXPECT_EQ(host.view().joined, (std::vector<AgentId>{joiner}));
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 4}));
}

// A view for the round behind a newcomer's forgot how it comes in; one for the newcomer's round
// came to some when others were past it.
TEST(DecideHosted, BehindTheRoundOfAJoinItWaitsUntilTheNewcomerIsIn) {
  Host host(2);
  const AgentId joiner = host.join();
  const std::uint32_t planned = host.view().epoch.number;
  const std::uint64_t round = rounds_before(host.view().enters_at);
  host.feed(Adopted{{0, 1, 2, 3, 4}, round + 1});
  EXPECT_EQ(host.view().epoch.number, planned);
  host.at_round(round, planned, {0});
  EXPECT_EQ(host.view().epoch.number, planned);
  host.at_round(round, planned, {0, joiner});
  EXPECT_EQ(host.view().first_op, round_op(round + 1));
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 4}));
  EXPECT_EQ(host.view().members.size(), 2U);
}

// A plan was made while it waited, and its view came out with a number below the newest.
TEST(DecideHosted, APlanThatIsMadeMeanwhileIsWithdrawn) {
  Host host(2, {0});
  host.state.rules.min_agents = 2;
  for (const AgentId agent : {0, 1}) {
    host.feed(Exited{agent, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  }
  host.feed(BookTaken{5});
  const auto started = host.asked<Start>();
  for (const Start& it : started) host.hear(it.agent, hello(it.agent));
  for (const Start& it : started) host.hear(it.agent, ready());
  ASSERT_EQ(host.view().joined.size(), 1U);
  const AgentId member = host.view().joined[0];
  const std::uint32_t number = host.view().epoch.number;
  host.feed(Adopted{{0, 1, 2, 3}, 6});
  EXPECT_EQ(host.view().epoch.number, number);
  ASSERT_TRUE(host.state.plan);  // for the other agent, which has work now
  const std::uint32_t plan = host.state.plan->number;
  host.at_round(5, number, {member});
  EXPECT_EQ(host.view().first_op, round_op(6));
  EXPECT_GT(host.view().epoch.number, plan);
  ASSERT_FALSE(host.asked<SendPropose>(host.newest).empty());
  EXPECT_EQ(host.asked<SendPropose>(host.newest)[0].propose.round, wire::kWithdrawn);
}

TEST(DecideHosted, ADeathBeforeTheRoundOfALeaveUndoesIt) {
  Host host(3);
  host.feed(ScaleAsked{2});
  host.at_round(6, 1, {0, 1, 2});
  host.promise({0, 1, 2}, 6);
  ASSERT_EQ(host.view().members, (std::vector<AgentId>{0, 1}));
  const std::uint64_t round = rounds_before(host.view().first_op);
  host.feed(Adopted{{0, 1, 2, 3, 4, 5}, round});
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{0, 1}));
  const Op op = gather_op(round, 1);
  host.feed(Exited{0, 0, SIGKILL, {op, op, 1, 1, 2, Busy::kWaiting}});
  EXPECT_EQ(host.view().first_op, op);
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{1, 2}));
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 4, 5}));
}

TEST(DecideHosted, APauseRemembersThem) {
  Host host(1);
  host.at_round(5, 1, {0});
  host.feed(Exited{0, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  ASSERT_TRUE(host.state.restart);
  const std::size_t views = host.views();
  host.feed(Adopted{{0, 1, 2, 3, 7}, 5});
  EXPECT_EQ(host.views(), views);
  host.feed(BookTaken{5});
  const AgentId next = host.asked<Start>().back().agent;
  host.hear(next, hello(next));
  host.hear(next, ready());
  ASSERT_EQ(host.views(), views + 1);
  EXPECT_EQ(shards_here(host.view()), (Shards{0, 1, 2, 3, 7}));
  EXPECT_EQ(host.view().first_op, round_op(5));
}

TEST(DecideHosted, ARunThatStopsHasItsRoundToFinish) {
  Host host(2);
  host.at_round(5, 1, {0, 1});
  host.feed(StopAsked{"stop", false, false});
  host.feed(Adopted{{0, 1, 2, 3, 4, 5, 6, 7}, 5});
  EXPECT_EQ(shards_here(host.view()).size(), 8U);
  EXPECT_EQ(host.view().first_op, round_op(5));
  // Whoever is done has finished its last round.
  host.hear(0, wire::Done{"{}"});
  const std::size_t views = host.views();
  host.feed(Adopted{{0, 1, 2, 3}, 6});
  EXPECT_EQ(host.views(), views);
}

// Members without a shard are still needed for their slices; later the shards are spread anew.
TEST(DecideHosted, WhoHasNoShardLeftStaysUntilAPlan) {
  Host host(2);
  host.at_round(5, 1, {0, 1});
  host.feed(Adopted{{0, 1, 4}, 5});
  EXPECT_EQ(host.view().shard_agent, (std::vector<AgentId>{0, 0, -1, -1, 1, -1, -1, -1}));
  host.feed(Adopted{{0, 1}, 5});
  EXPECT_EQ(host.view().members, (std::vector<AgentId>{0, 1}));
  EXPECT_EQ(host.view().shard_agent, (std::vector<AgentId>{0, 0, -1, -1, -1, -1, -1, -1}));
  host.at_round(6, host.view().epoch.number, {0, 1});
  ASSERT_TRUE(host.state.plan);
  host.promise({0, 1}, 6);
  EXPECT_EQ(host.view().shard_agent, (std::vector<AgentId>{0, 1, -1, -1, -1, -1, -1, -1}));
}

TEST(DecideHosted, ShardsThatCannotBeEndTheRun) {
  for (const Shards& shards : {Shards{}, Shards{3, 2}, Shards{1, 1}, Shards{8}}) {
    Host host(2);
    host.feed(Adopted{shards, 5});
    EXPECT_EQ(host.state.outcome.reason, Reason::kLauncher);
  }
  Driver alone(2);
  alone.to_running();
  alone.feed(Adopted{{0}, 5});
  EXPECT_EQ(alone.state.outcome.reason, Reason::kLauncher);
}

}  // namespace
}  // namespace instep::member
