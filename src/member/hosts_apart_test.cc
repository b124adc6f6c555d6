// Whom a run loses when links between hosts stay broken (hosts_apart.cc).
#include <gtest/gtest.h>

#include "base/text.h"
#include "member/hosts.h"

namespace instep::member {
namespace {

using Hosts = std::vector<HostId>;

// So many hosts with an agent each, that have halted since a link broke. Nobody has taken the
// line-up that was told then.
struct Apart {
  explicit Apart(HostId hosts, std::uint32_t least = 1) {
    state = begin_hosts({least, hosts});
    for (HostId host = 0; host < hosts; ++host) feed(HostJoined{host, cat("h", host), "", 1});
    HostFacts facts;
    facts.shards = 8;
    facts.blocks = 100;
    for (HostId host = 0; host < hosts; ++host) feed(HostIsReady{host, facts});
    for (HostId host = 0; host < hosts; ++host) feed(HostTook{host, 1});
    feed(HostBroken{1});
    stand();
  }
  void feed(HostsEvent event) {
    HostsDecision decision = decide_hosts(std::move(state), std::move(event), now);
    state = std::move(decision.state);
    asked.clear();
    for (const HostsAction& action : decision.actions) {
      if (const auto* ask = std::get_if<AskLinks>(&action)) asked = ask->to;
      if (const auto* refuse = std::get_if<Refuse>(&action)) refused.push_back(refuse->host);
      if (std::holds_alternative<Go>(action)) ++went;
      if (std::holds_alternative<EndRun>(action)) ended = true;
    }
  }
  void stand() {
    for (const auto& [host, it] : HostsState(state).hosts) {
      feed(HostStands{host, state.number, 9});
    }
    ASSERT_EQ(state.phase, HostsPhase::kTelling);
  }
  // The limit is over.
  void wait() {
    now = *next_deadline(state);
    feed(TimePassed{});
  }
  void lacks(HostId host, const Hosts& peers) { feed(HostLacks{host, state.number, peers}); }

  HostsState state;
  Nanoseconds now = 0;
  Hosts asked, refused;  // by the newest event; so far
  int went = 0;
  bool ended = false;
};

// It waited for ever: the others had cut it off, and its own link to the hub was well.
TEST(HostsApart, OneThatDoesNotReachAnotherIsToldThatItIsOut) {
  Apart run(3);
  run.feed(HostTook{0, 2});
  run.now = *next_deadline(run.state) - 1;
  run.feed(TimePassed{});
  EXPECT_TRUE(run.asked.empty());
  run.wait();
  EXPECT_EQ(run.asked, (Hosts{0, 1, 2}));
  EXPECT_FALSE(next_deadline(run.state));
  run.lacks(0, {});
  run.lacks(1, {2});
  EXPECT_TRUE(run.refused.empty());
  run.lacks(2, {1});
  EXPECT_EQ(run.refused, (Hosts{2}));
  run.stand();
  for (const HostId host : {0U, 1U}) run.feed(HostTook{host, run.state.number});
  EXPECT_EQ(run.went, 2);
}

// A link of two hosts was missing for 15 s while the machine of one of them had no power any more:
// the other one was told that it was out.
TEST(HostsApart, NobodyGoesForOneThatIsNotHeardOf) {
  Apart run(3);
  run.wait();
  run.lacks(2, {1});
  run.lacks(0, {});
  run.now += run.state.rules.link_limit;
  run.feed(TimePassed{});
  EXPECT_TRUE(run.refused.empty());
  run.feed(HostLost{1, "nothing was heard of it"});
  EXPECT_TRUE(run.refused.empty());
  run.stand();
  for (const HostId host : {0U, 2U}) run.feed(HostTook{host, run.state.number});
  EXPECT_EQ(run.went, 2);
  EXPECT_EQ(run.state.hosts.size(), 2U);
}

// Nor where it has taken the line-up, or where the hub's own host is the one that lacks a link.
TEST(HostsApart, OneThatIsNotHeardOfMayHaveTakenTheLineup) {
  Apart run(4);
  run.feed(HostTook{3, 2});
  run.wait();
  run.lacks(0, {2});
  run.lacks(1, {3});
  run.lacks(2, {0});
  EXPECT_TRUE(run.refused.empty());
  run.feed(HostBroken{3});  // it is back: all links have a limit anew
  EXPECT_EQ(run.state.phase, HostsPhase::kHalting);
  run.stand();
  EXPECT_EQ(next_deadline(run.state), run.now + run.state.rules.link_limit);
  EXPECT_TRUE(run.refused.empty());
}

TEST(HostsApart, TheOneWithTheMostBrokenLinksGoes) {
  Apart run(5);
  run.wait();
  run.lacks(0, {});
  run.lacks(1, {2, 3, 4});
  for (const HostId host : {2U, 3U}) run.lacks(host, {1});
  run.lacks(4, {});  // its link to host 1 never got through
  EXPECT_EQ(run.refused, (Hosts{1}));
}

TEST(HostsApart, TheFirstOneNeverGoes) {
  Apart run(5);
  run.wait();
  run.lacks(0, {1, 3, 4});
  run.lacks(1, {0, 2});
  run.lacks(2, {1, 3, 4});
  run.lacks(3, {0, 2});
  run.lacks(4, {0, 2});
  EXPECT_EQ(run.refused, (Hosts{4, 3, 1})) << "without them host 2 lacks nobody";
}

TEST(HostsApart, WhoHasLinksAgainWhileOthersAreAskedStays) {
  Apart run(4);
  run.wait();
  run.lacks(1, {2});
  run.lacks(2, {1});
  run.lacks(3, {0});
  run.feed(HostTook{1, 2});
  run.feed(HostTook{2, 2});
  run.lacks(0, {3});
  EXPECT_EQ(run.refused, (Hosts{3}));
}

TEST(HostsApart, AnAnswerOfAnEarlierLineupDoesNotCount) {
  Apart run(2);
  run.feed(HostLacks{1, 2, {0}});  // it was not asked
  run.wait();
  run.feed(HostLacks{0, 1, {1}});
  run.feed(HostLacks{1, 1, {0}});
  EXPECT_TRUE(run.refused.empty());
  run.lacks(0, {});
  run.lacks(1, {7, 1});  // nobody, and itself
  EXPECT_TRUE(run.refused.empty());
  EXPECT_EQ(next_deadline(run.state), run.now + run.state.rules.link_limit) << "asked again then";
}

// They waited for the end for ever: the one that was not done yet had to go, and nothing else was
// to happen (seed 82627 of four simulated hosts).
TEST(HostsApart, ARunEndsWithTheLastOneThatWasNotDone) {
  Apart run(3);
  for (const HostId host : {0U, 1U}) run.feed(HostDone{host});
  run.wait();
  run.lacks(0, {2});
  run.lacks(1, {});
  EXPECT_FALSE(run.ended);
  run.lacks(2, {0});
  EXPECT_EQ(run.refused, (Hosts{2}));
  EXPECT_TRUE(run.ended);
}

TEST(HostsApart, ARunThatEndsForWantOfAgentsLosesNobodyElse) {
  Apart run(4, 4);
  run.wait();
  run.lacks(0, {1, 2});
  for (const HostId host : {1U, 2U}) run.lacks(host, {0});
  run.lacks(3, {});
  EXPECT_TRUE(run.ended);
  EXPECT_EQ(run.refused, (Hosts{2}));
}

}  // namespace
}  // namespace instep::member
