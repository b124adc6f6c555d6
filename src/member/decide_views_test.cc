#include <gtest/gtest.h>
#include <signal.h>

#include "member/testing.h"

namespace instep::member {
namespace {

Rules rules_of(std::uint32_t agents) {
  Rules rules;
  rules.agents = agents;
  rules.slots = 8;
  return rules;
}

// Two that died one after the other while the first one's view was on its way: what the second had
// finished it had finished under the view before, and those who had taken the new one up waited for
// it for ever.
TEST(DecideViews, WhatTheDeadDidUnderAnEarlierViewIsDoneAgain) {
  Driver driver(rules_of(3));
  driver.to_running();
  driver.feed(Exited{0, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  driver.feed(Exited{1, 0, SIGKILL, {round_op(5), round_op(5) + 1, 1, 1, 0, Busy::kWaiting}});
  const auto views = driver.asked<Publish>();
  ASSERT_EQ(views.size(), 3U);
  EXPECT_EQ(views[1].view.first_op, round_op(5));
  EXPECT_EQ(views[2].view.first_op, round_op(5));
  EXPECT_EQ(views[2].view.members, (std::vector<AgentId>{2}));
}

// A run that was stopped before the round that a newcomer should have come in with never ended: the
// newcomer waited for a book, and the coordinator for the newcomer.
TEST(DecideViews, ARunEndsWithoutThoseThatWereStillToComeIn) {
  Driver driver(rules_of(2));
  driver.to_running();
  driver.feed(Exited{1, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  ASSERT_EQ(driver.asked<Start>().size(), 1U);
  const AgentId joiner = driver.asked<Start>()[0].agent;
  driver.hear(joiner, hello(joiner));
  driver.hear(joiner, ready());
  std::vector<Words> words(8);
  words[0] = {round_op(6), round_op(6), 2, 2, 1, Busy::kComputing};
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  const auto plans = driver.asked<SendPropose>();
  ASSERT_FALSE(plans.empty());
  driver.hear(0, wire::Promise{plans.back().propose.number, true, false, 6});
  ASSERT_EQ(driver.state.view->joined, (std::vector<AgentId>{joiner}));
  driver.feed(StopAsked{"stop", false, false});
  driver.hear(0, wire::Done{"{}"});
  EXPECT_EQ(driver.state.phase, Phase::kLeaving);
  EXPECT_EQ(driver.signalled(SIGKILL), (std::set<AgentId>{joiner}));
  driver.feed(Exited{0, 0, 0});
  driver.feed(Exited{joiner, 0, SIGKILL});
  EXPECT_EQ(driver.state.phase, Phase::kOver);
  EXPECT_EQ(driver.state.outcome.reason, Reason::kStopped);
}

// One that was let go and had not noticed yet was planned to come in again, and never did.
TEST(DecideViews, WhoWasLetGoComesBackAsANewProcess) {
  Driver driver(rules_of(2));
  driver.to_running();
  driver.feed(ScaleAsked{1});
  std::vector<Words> words(8);
  words[0] = words[1] = {round_op(6), round_op(6), 1, 1, 1, Busy::kComputing};
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  const std::uint32_t plan = driver.asked<SendPropose>().back().propose.number;
  for (const AgentId agent : {0, 1}) driver.hear(agent, wire::Promise{plan, true, false, 6});
  ASSERT_EQ(driver.state.view->members, (std::vector<AgentId>{0}));
  words[0] = {
      driver.state.view->first_op, driver.state.view->first_op, plan, plan, 2, Busy::kComputing};
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  driver.feed(ScaleAsked{2});
  ASSERT_EQ(driver.asked<Start>().size(), 1U);
  EXPECT_NE(driver.asked<Start>()[0].agent, 1);
}

// A member without a slice that died in the round of a join had done its part of it before the
// newcomer came in; the next view forgot the newcomer, and all waited for it.
TEST(DecideViews, ADeathInTheRoundOfAJoinLeavesTheNewcomerItsWayIn) {
  Driver driver(rules_of(3));
  driver.to_running();
  driver.feed(Exited{2, 0, SIGKILL, {round_op(5), round_op(5), 1, 1, 0, Busy::kComputing}});
  const AgentId joiner = driver.asked<Start>()[0].agent;
  driver.hear(joiner, hello(joiner));
  driver.hear(joiner, ready());
  std::vector<Words> words(8);
  words[0] = words[1] = {round_op(6), round_op(6), 2, 2, 1, Busy::kComputing};
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  const std::uint32_t plan = driver.asked<SendPropose>().back().propose.number;
  for (const AgentId agent : {0, 1}) driver.hear(agent, wire::Promise{plan, true, false, 6});
  const View view = *driver.state.view;
  ASSERT_EQ(view.joined, (std::vector<AgentId>{joiner}));
  driver.feed(
      Exited{1, 0, SIGKILL, {view.enters_at, view.enters_at + 1, plan, plan, 2, Busy::kWaiting}});
  EXPECT_EQ(driver.state.view->first_op, view.enters_at);
  EXPECT_EQ(driver.state.view->joined, (std::vector<AgentId>{joiner}));
}

// A death in a gather just before the round at which somebody leaves: it was left out while it was
// in that gather with all others.
TEST(DecideViews, ADeathBeforeTheRoundOfALeaveUndoesTheLeave) {
  Driver driver(rules_of(3));
  driver.to_running();
  driver.feed(ScaleAsked{2});
  std::vector<Words> words(8);
  words[0] = words[1] = words[2] = {round_op(6), round_op(6), 1, 1, 1, Busy::kComputing};
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  const std::uint32_t plan = driver.asked<SendPropose>().back().propose.number;
  for (const AgentId agent : {0, 1, 2}) driver.hear(agent, wire::Promise{plan, true, false, 6});
  ASSERT_EQ(driver.state.view->members, (std::vector<AgentId>{0, 1}));
  const Op op = gather_op(rounds_before(driver.state.view->first_op), 1);
  driver.feed(Exited{0, 0, SIGKILL, {op, op, 1, 1, 2, Busy::kWaiting}});
  EXPECT_EQ(driver.state.view->first_op, op);
  EXPECT_EQ(driver.state.view->members, (std::vector<AgentId>{1, 2}));
}

// The second of two leavers that died in the gather before their round was thought to hold up the
// others in it, who had finished it under the view of the first one's death; the third leaver came
// back into a gather that nobody was in any more.
TEST(DecideViews, ALeaveThatADeathHasBroughtForwardIsNotUndone) {
  Driver driver(rules_of(4));
  driver.to_running();
  driver.feed(ScaleAsked{1});
  std::vector<Words> words(8);
  for (const AgentId agent : {0, 1, 2, 3}) {
    words[std::size_t(agent)] = {round_op(6), round_op(6), 1, 1, 1, Busy::kComputing};
  }
  driver.now += kMillisecond * 50;
  driver.feed(Observed{words});
  const std::uint32_t plan = driver.asked<SendPropose>().back().propose.number;
  for (const AgentId agent : {0, 1, 2, 3}) {
    driver.hear(agent, wire::Promise{plan, true, false, 6});
  }
  ASSERT_EQ(driver.state.view->members, (std::vector<AgentId>{0}));
  const std::uint64_t round = rounds_before(driver.state.view->first_op);
  const Op gather = gather_op(round, 0);
  words[0] = {gather, gather, 1, 1, 2, Busy::kWaiting};
  driver.feed(Observed{words});
  driver.feed(Exited{2, 0, SIGKILL, {round_op(round - 1), gather, 1, 1, 2, Busy::kWaiting}});
  EXPECT_EQ(driver.state.view->first_op, gather);
  EXPECT_EQ(driver.state.view->members, (std::vector<AgentId>{0}));
  driver.feed(Exited{1, 0, SIGKILL, {gather, gather, 1, 1, 2, Busy::kWaiting}});
  EXPECT_EQ(driver.state.view->members, (std::vector<AgentId>{0}));
}

// A leaver died behind its last op, before it took up the view without it. A view for its death
// came to some when others had finished the round of the leave under the planned view.
struct DeadLeaver : Driver {
  DeadLeaver() : Driver(rules_of(3)), words(8) {
    to_running();
    feed(ScaleAsked{2});
    at(round_op(6));
    const std::uint32_t plan = asked<SendPropose>().back().propose.number;
    for (const AgentId agent : {0, 1, 2}) hear(agent, wire::Promise{plan, true, false, 6});
    planned = state.view->epoch.number;
    round = rounds_before(state.view->first_op);
    at(round_op(round - 1));
    const Words last = {round_op(round - 1), gather_op(round, 0), 1, 1, 9, Busy::kWaiting};
    feed(Exited{2, 0, SIGKILL, last});
  }
  void at(Op op, std::uint32_t view = 1) {
    for (const AgentId agent : {0, 1}) words[std::size_t(agent)] = {op, op, view, view, ++beats};
    words[2] = words[0];
    now += kMillisecond * 50;
    feed(Observed{words});
  }
  std::vector<Words> words;
  std::uint32_t planned = 0, beats = 0;
  std::uint64_t round = 0;
};

TEST(DecideViews, ALeaverThatDiedBehindItsLastOpHadLeft) {
  DeadLeaver driver;
  EXPECT_EQ(driver.state.view->epoch.number, driver.planned) << "nobody knows yet";
  driver.at(round_op(driver.round), driver.planned);
  EXPECT_EQ(driver.state.view->epoch.number, driver.planned);
  EXPECT_FALSE(driver.state.departed);
}

TEST(DecideViews, ALeaverThatDiedBeforeAGatherIsMissedThere) {
  DeadLeaver driver;
  const Op gather = gather_op(driver.round, 0);
  driver.at(gather);
  EXPECT_GT(driver.state.view->epoch.number, driver.planned);
  EXPECT_EQ(driver.state.view->first_op, gather);
  EXPECT_EQ(driver.state.view->members, (std::vector<AgentId>{0, 1}));
}

wire::Failed damage() {
  return {static_cast<int>(ErrorKind::kDamaged),
          "block 7 does not hold in round 5 what was written"};
}

TEST(DecideViews, DamagedMemoryComesBackFromACheckpoint) {
  Driver driver(rules_of(2));
  driver.to_running();
  driver.hear(1, damage());
  EXPECT_EQ(driver.signalled(SIGKILL), (std::set<AgentId>{0, 1}));
  driver.feed(Exited{0, 0, SIGKILL, {}});
  driver.feed(Exited{1, 1, 0, {}});
  const auto books = driver.asked<TakeBook>();
  ASSERT_EQ(books.size(), 1U);
  EXPECT_TRUE(books[0].checkpoint);
  driver.feed(BookTaken{});
  const auto started = driver.asked<Start>();
  ASSERT_EQ(started.size(), 2U);
  wire::Ready from_there = ready();
  from_there.first_round = 4;
  from_there.state_hash = "of the checkpoint";
  for (const Start& it : started) driver.hear(it.agent, hello(it.agent));
  for (const SendWelcome& it : driver.asked<SendWelcome>()) {
    if (it.agent == started[0].agent) {
      EXPECT_FALSE(it.joining);
    }
  }
  for (const Start& it : started) driver.hear(it.agent, from_there);
  EXPECT_EQ(driver.state.view->first_op, gather_op(4, 0));
  EXPECT_TRUE(driver.state.view->joined.empty());
}

TEST(DecideViews, DamagedMemoryEndsARunThatWantsItSo) {
  Rules rules = rules_of(2);
  rules.restore = false;
  Driver driver(rules);
  driver.to_running();
  driver.hear(1, damage());
  EXPECT_EQ(driver.state.phase, Phase::kEnding);
  EXPECT_EQ(driver.state.outcome.kind, ErrorKind::kDamaged);
}

}  // namespace
}  // namespace instep::member
