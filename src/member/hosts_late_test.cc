// Hosts that come into a run under way, or to one that the first host goes on with.
#include "member/testing_hosts.h"

namespace instep::member {
namespace {

// Two hosts with an agent each start, after a while in which no more have come; there may be four.
struct StartingHub : Hub {
  StartingHub() : Hub(2, 4) {
    join(0);
    join(1);
    now += 100 * kSecond;
    feed(TimePassed{});
  }
};

// They go on.
struct LateHub : StartingHub {
  LateHub() {
    for (const HostId host : {0U, 1U}) ready(host);
    for (const HostId host : {0U, 1U}) feed(HostTook{host, 1});
  }
  void halted(std::uint64_t done0, std::uint64_t done1, bool empty2) {
    feed(HostStands{0, state.number, done0});
    feed(HostStands{1, state.number, done1});
    feed(HostStands{2, state.number, 0, empty2});
  }
  void all_took(std::uint32_t number) {
    for (const HostId host : {0U, 1U, 2U}) feed(HostTook{host, number});
  }
  // A third one that has not got the state yet.
  void let_in() {
    join(2);
    ready(2);
    halted(20, 20, true);
    all_took(2);
  }
};

TEST(DecideHosts, OneThatComesLateIsGivenTheState) {
  LateHub hub;
  ASSERT_EQ(hub.state.phase, HostsPhase::kRunning);
  hub.join(2, 2);
  ASSERT_NE(hub.asked<Begin>(), nullptr);
  EXPECT_EQ(hub.asked<Begin>()->hosts.size(), 3U);
  EXPECT_EQ(hub.asked<Halt>(), nullptr) << "nobody waits until it is ready";
  HostFacts fresh = facts();
  fresh.first_round = 0;
  fresh.state_hash = "of no round";
  hub.feed(HostIsReady{2, fresh});
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  EXPECT_EQ(hub.asked<Halt>()->to, (std::vector<HostId>{0, 1, 2}));
  hub.halted(20, 21, true);
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  Lineup wanted = assign_hosts(2, 21, {{0, 1, 1}, {1, 1, 1}, {2, 2, 1}}, 8, 100);
  wanted.donor = 1;
  wanted.newcomers = {2};
  EXPECT_EQ(hub.lineup(), wanted);
  EXPECT_TRUE(validate(hub.lineup(), 8, 100).ok());
  hub.all_took(2);
  EXPECT_NE(hub.asked<Go>(), nullptr);
  // Before it has the state another link breaks: it is given it again, and keeps its shards.
  hub.feed(HostBroken{1});
  hub.halted(21, 21, true);
  wanted.number = 3;
  wanted.donor = 0;
  EXPECT_EQ(hub.lineup(), wanted);
  hub.all_took(3);
  // From then on it is one of them, and may be the donor.
  hub.feed(HostBroken{1});
  hub.feed(HostStands{0, 4, 22});
  hub.feed(HostStands{1, 4, 22});
  hub.feed(HostStands{2, 4, 23});
  EXPECT_EQ(hub.lineup().donor, 2U);
  EXPECT_TRUE(hub.lineup().newcomers.empty());
}

TEST(DecideHosts, OneThatIsReadyWhileAnotherComesInIsNext) {
  LateHub hub;
  hub.join(2);
  hub.join(3);
  hub.ready(2);
  hub.halted(20, 20, true);
  hub.ready(3);
  EXPECT_EQ(hub.asked<Halt>(), nullptr);
  hub.all_took(2);
  EXPECT_NE(hub.asked<Go>(), nullptr);
  ASSERT_NE(hub.asked<Halt>(), nullptr) << "nothing else may happen for a long time";
  EXPECT_EQ(hub.asked<Halt>()->to, (std::vector<HostId>{0, 1, 2, 3}));
}

TEST(DecideHosts, OneThatComesLateAndIsLostLeavesTheOthersAsTheyWere) {
  LateHub hub;
  hub.join(2);
  hub.feed(HostLost{2, "gone"});
  EXPECT_EQ(hub.asked<Halt>(), nullptr);
  hub.join(3);
  hub.ready(3);
  hub.feed(HostLost{3, "gone"});
  hub.feed(HostStands{0, hub.state.number, 20});
  hub.feed(HostStands{1, hub.state.number, 20});
  EXPECT_EQ(hub.lineup().hosts, assign_hosts(1, 7, {{0, 1, 1}, {1, 1, 1}}, 8, 100).hosts);
  EXPECT_FALSE(hub.lineup().donor);
}

TEST(DecideHosts, OneThatComesLateMayBeRefused) {
  LateHub hub;
  hub.join(2, 3);
  ASSERT_NE(hub.asked<Refuse>(), nullptr);
  EXPECT_EQ(hub.asked<Refuse>()->why,
            "the run has 2 agents of at most 4 (-n MIN:MAX), and the host brings 3");
  hub.join(3);
  HostFacts other = facts();
  other.fingerprint["build"] = "another";
  hub.feed(HostIsReady{3, other});
  ASSERT_NE(hub.asked<Refuse>(), nullptr);
  EXPECT_NE(hub.asked<Refuse>()->why.find("differ in build: 'another' and 'b'"), std::string::npos);
  EXPECT_EQ(hub.state.phase, HostsPhase::kRunning);
  hub.feed(HostDone{0});
  hub.join(4);
  hub.ready(4);
  ASSERT_NE(hub.asked<Refuse>(), nullptr);
  EXPECT_EQ(hub.asked<Refuse>()->why, "the run is at its end");
}

TEST(DecideHosts, ARunThatEndsDoesNotWaitForOneWithoutTheState) {
  LateHub hub;
  hub.let_in();
  hub.feed(HostDone{0});
  hub.feed(HostDone{1});
  EXPECT_NE(hub.asked<EndRun>(), nullptr);
}

// The others ended without it, and it took the first one for dead.
TEST(DecideHosts, ARunThatEndsWaitsForOneThatHasGotTheState) {
  LateHub hub;
  hub.let_in();
  ASSERT_EQ(hub.state.phase, HostsPhase::kRunning);
  hub.feed(HostStands{2, 2, 20, false});
  for (HostId host = 0; host < 2; ++host) hub.feed(HostDone{host});
  EXPECT_EQ(hub.asked<EndRun>(), nullptr);
  hub.feed(HostDone{2});
  EXPECT_NE(hub.asked<EndRun>(), nullptr);
}

TEST(DecideHosts, ARunThatHasNotBegunAfterAllSendsThemAway) {
  StartingHub hub;
  ASSERT_EQ(hub.state.phase, HostsPhase::kStarting);
  hub.join(2);
  hub.feed(HostLost{1, "gone"});
  EXPECT_EQ(hub.state.phase, HostsPhase::kGathering);
  EXPECT_NE(hub.asked<Refuse>(), nullptr);
}

TEST(DecideHosts, AllGetTheStateOfTheFirstIfItAloneHoldsIt) {
  Hub hub(3, 3);
  hub.state.rules.first_holds = true;
  for (const HostId host : {0U, 1U, 2U}) hub.join(host);
  HostFacts fresh = facts();
  fresh.first_round = 0;
  fresh.state_hash = "of no round";
  hub.feed(HostIsReady{1, fresh});
  hub.ready(0);
  hub.feed(HostIsReady{2, fresh});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.lineup().first_round, 7U);
  EXPECT_EQ(hub.lineup().donor, 0U);
  EXPECT_EQ(hub.lineup().newcomers, (std::vector<HostId>{1, 2}));
  hub.state.rules.min_agents = 2;
  hub.feed(HostLost{1, "gone"});
  EXPECT_EQ(hub.lineup().donor, 0U);
  EXPECT_EQ(hub.lineup().newcomers, (std::vector<HostId>{2}));
  hub.feed(HostLost{0, "gone"});
  ASSERT_NE(hub.asked<EndRun>(), nullptr);
  EXPECT_EQ(hub.asked<EndRun>()->error->message, "no host is left that holds the state of the run");
}

}  // namespace
}  // namespace instep::member
