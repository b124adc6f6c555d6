// Runs that are left with too few agents, and wait for hosts to join.
#include "member/testing_hosts.h"

namespace instep::member {
namespace {

// Two hosts with an agent each go on, fewer may not, and there may be four.
struct WaitingHub : Hub {
  explicit WaitingHub(std::uint32_t least = 2) : Hub(least, 4) {
    state.rules.gather_limit = 0;
    state.rules.wait_limit = 60 * kSecond;
    to_running(least);
  }
  void lose(HostId host) { feed(HostLost{host, "gone"}); }
  // All that are in have halted, after 20 rounds.
  void stand() {
    for (const auto& [host, it] : std::map(state.hosts)) {
      feed(HostStands{host, state.number, 20, it.empty});
    }
  }
  void take() {
    const Lineup taken = lineup();
    for (const HostPart& part : taken.hosts) feed(HostTook{part.host, taken.number});
  }
  void pass(Nanoseconds time) {
    now += time;
    feed(TimePassed{});
  }
  bool gave_up() const { return state.stopping; }
  // By the line-up that has come, to the last round; this host is the last to have done it.
  void goes_on_to_its_end(HostId last) {
    ASSERT_NE(asked<TellLineup>(), nullptr);
    take();
    EXPECT_NE(asked<Go>(), nullptr);
    feed(HostDone{last});
    ASSERT_NE(asked<EndRun>(), nullptr);
    EXPECT_FALSE(asked<EndRun>()->error);
  }
};

TEST(DecideHosts, WithTooFewLeftNobodyGoesOnUntilOthersHaveJoined) {
  WaitingHub hub;
  hub.lose(1);
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  ASSERT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>()->agents, 1U);
  EXPECT_EQ(hub.asked<Wait>()->least, 2U);
  EXPECT_EQ(hub.asked<Wait>()->limit, 60 * kSecond);
  EXPECT_EQ(hub.asked<Wait>()->to, (std::vector<HostId>{0}));
  EXPECT_EQ(next_deadline(hub.state), 60 * kSecond);
  hub.stand();
  EXPECT_TRUE(hub.newest.empty()) << "a line-up would let it go on";
  hub.now = 59 * kSecond;
  hub.join(2);
  EXPECT_FALSE(next_deadline(hub.state)) << "enough are on their way";
  hub.pass(100 * kSecond);
  EXPECT_TRUE(hub.newest.empty());
  hub.ready(2);
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>(), nullptr);
  hub.stand();
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  Lineup wanted = assign_hosts(hub.state.number, 20, {{0, 1, 1}, {2, 1, 1}}, 8, 100);
  wanted.donor = 0;
  wanted.newcomers = {2};
  EXPECT_EQ(hub.lineup(), wanted);
  hub.take();
  EXPECT_NE(hub.asked<Go>(), nullptr);
  EXPECT_FALSE(next_deadline(hub.state));
}

TEST(DecideHosts, WhereNobodyJoinsTheRunStopsAndSaysWhatItWaitedFor) {
  WaitingHub hub;
  hub.lose(1);
  hub.stand();
  hub.pass(60 * kSecond - 1);
  EXPECT_FALSE(hub.gave_up());
  hub.pass(1);
  ASSERT_NE(hub.asked<GiveUp>(), nullptr);
  EXPECT_EQ(hub.asked<GiveUp>()->to, (std::vector<HostId>{0}));
  EXPECT_EQ(hub.asked<GiveUp>()->why.message,
            "host h1 was lost (gone), 1 of at least 2 agents are left, and no others have joined "
            "within 60 s; go on with `instep resume` when there are more");
  // What it has is saved: it goes on to the next round, with which all stop.
  hub.goes_on_to_its_end(0);
}

TEST(DecideHosts, AHostThatIsNotEnoughComesInAndWaitsWithTheOthers) {
  WaitingHub hub(4);
  hub.lose(3);
  hub.lose(2);
  ASSERT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>()->agents, 2U);
  EXPECT_EQ(next_deadline(hub.state), 60 * kSecond) << "since the first loss";
  hub.now = 10 * kSecond;
  hub.join(4);
  hub.ready(4);
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  ASSERT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>()->agents, 3U);
  EXPECT_EQ(hub.asked<Wait>()->limit, 50 * kSecond);
  EXPECT_EQ(hub.asked<Wait>()->to, (std::vector<HostId>{0, 1, 4}));
  hub.stand();
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
  hub.join(5);
  hub.ready(5);
  hub.stand();
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.lineup().newcomers, (std::vector<HostId>{4, 5}));
  // One is lost before all have taken it: the others wait anew.
  hub.now = 100 * kSecond;
  hub.lose(5);
  ASSERT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>()->limit, 60 * kSecond);
  hub.stand();
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
}

// Its agents take a while to start, and the time was over when it was lost.
TEST(DecideHosts, AHostThatIsLostOnItsWayIsWaitedForAnew) {
  WaitingHub hub;
  hub.lose(1);
  hub.join(2);
  hub.pass(200 * kSecond);
  hub.now += 60 * kSecond + 1;
  hub.lose(2);
  EXPECT_FALSE(hub.gave_up());
  ASSERT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>()->limit, 60 * kSecond);
  hub.pass(60 * kSecond);
  EXPECT_TRUE(hub.gave_up());
}

TEST(DecideHosts, WhoStoodStillItselfWaitsAnew) {
  WaitingHub hub;
  hub.lose(1);
  hub.pass(65 * kSecond);
  EXPECT_FALSE(hub.gave_up());
  hub.pass(60 * kSecond);
  EXPECT_TRUE(hub.gave_up());
}

TEST(DecideHosts, ARunThatIsToStopWaitsForNobody) {
  WaitingHub hub;
  hub.lose(1);
  hub.stand();
  hub.feed(RunStops{});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.lineup().hosts.front().shards.size(), 8U);
  hub.take();
  EXPECT_NE(hub.asked<Go>(), nullptr);
  WaitingHub other(3);
  other.feed(RunStops{});
  other.lose(2);
  EXPECT_EQ(other.asked<Wait>(), nullptr);
  other.stand();
  EXPECT_NE(other.asked<TellLineup>(), nullptr);
}

// What the others lack are the sums of the last round.
TEST(DecideHosts, ARunThatOneHasDoneWaitsForNobody) {
  WaitingHub hub(3);
  hub.lose(2);
  hub.stand();
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
  hub.feed(HostDone{0});
  hub.goes_on_to_its_end(1);
}

TEST(DecideHosts, ALinkThatBreaksDuringTheWaitEndsNothing) {
  WaitingHub hub(3);
  hub.lose(2);
  hub.stand();
  hub.feed(HostBroken{1});
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  EXPECT_EQ(hub.asked<Wait>(), nullptr);
  hub.stand();
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(next_deadline(hub.state), 60 * kSecond);
}

TEST(DecideHosts, AHostOfAnotherBuildIsNoneThatIsWaitedFor) {
  WaitingHub hub;
  hub.lose(1);
  hub.stand();
  hub.join(2);
  HostFacts other = facts();
  other.fingerprint["build"] = "another";
  hub.feed(HostIsReady{2, other});
  EXPECT_NE(hub.asked<Refuse>(), nullptr);
  EXPECT_NE(hub.asked<Wait>(), nullptr);
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
}

}  // namespace
}  // namespace instep::member
