#include "member/testing_hosts.h"

namespace instep::member {
namespace {

TEST(DecideHosts, HostsThatWereNamedAreWaitedFor) {
  Hub hub(1, 1);
  hub.state.rules.min_hosts = 3;
  hub.join(0);
  hub.join(1);
  hub.now += 100 * kSecond;
  hub.feed(TimePassed{});
  EXPECT_EQ(hub.state.phase, HostsPhase::kGathering);
  hub.feed(HostLost{1, "closed"});
  EXPECT_EQ(hub.state.phase, HostsPhase::kGathering);
  hub.join(2);
  ASSERT_NE(hub.asked<Begin>(), nullptr);
  EXPECT_EQ(hub.asked<Begin>()->hosts.size(), 2U);
}

TEST(DecideHosts, AWholeRun) {
  Hub hub;
  hub.join(0);
  EXPECT_TRUE(hub.newest.empty());
  hub.join(1);
  ASSERT_NE(hub.asked<Begin>(), nullptr);
  EXPECT_EQ(hub.asked<Begin>()->hosts,
            (std::vector<HostEntry>{{0, "h0", "address 0", 1}, {1, "h1", "address 1", 1}}));
  hub.ready(1);
  EXPECT_TRUE(hub.newest.empty());
  hub.ready(0);
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.asked<TellLineup>()->lineup, assign_hosts(1, 7, {{0, 1, 1}, {1, 1, 1}}, 8, 100));
  hub.feed(HostTook{0, 1});
  hub.feed(HostTook{0, 1});
  EXPECT_EQ(hub.asked<Go>(), nullptr);
  hub.feed(HostTook{1, 1});
  ASSERT_NE(hub.asked<Go>(), nullptr);
  EXPECT_EQ(hub.asked<Go>()->number, 1U);
  EXPECT_EQ(hub.asked<Go>()->to, (std::vector<HostId>{0, 1}));
  hub.feed(HostDone{0});
  EXPECT_EQ(hub.state.phase, HostsPhase::kRunning);
  hub.feed(HostDone{1});
  ASSERT_NE(hub.asked<EndRun>(), nullptr);
  EXPECT_FALSE(hub.asked<EndRun>()->error);
  hub.feed(HostLost{1, "gone"});
  EXPECT_TRUE(hub.newest.empty());
}

TEST(DecideHosts, GathersForAWhileBeyondTheLeast) {
  Hub hub(2, 5);
  hub.join(0, 1);
  EXPECT_FALSE(next_deadline(hub.state));
  hub.join(1, 2);
  EXPECT_EQ(next_deadline(hub.state), 2 * kSecond);
  hub.now = kSecond;
  hub.join(2, 1);
  EXPECT_EQ(next_deadline(hub.state), 2 * kSecond);
  hub.feed(HostLost{1, "gone"});  // forgotten
  EXPECT_EQ(hub.state.hosts.size(), 2U);
  hub.now = 2 * kSecond;
  hub.feed(TimePassed{});
  ASSERT_NE(hub.asked<Begin>(), nullptr);
  EXPECT_FALSE(next_deadline(hub.state));
  hub.join(3, 1);
  EXPECT_EQ(hub.asked<Refuse>(), nullptr);
  EXPECT_EQ(hub.state.hosts.size(), 2U) << "it comes in later";
}

TEST(DecideHosts, GoesOnAtOnceWithAllThatAreWanted) {
  Hub hub(2, 5);
  hub.join(0, 2);
  EXPECT_EQ(hub.asked<Begin>(), nullptr);
  hub.join(1, 3);
  EXPECT_NE(hub.asked<Begin>(), nullptr);
}

TEST(DecideHosts, ADifferenceEndsTheRunByName) {
  using Change = void (*)(HostFacts&);
  const std::vector<std::pair<const char*, Change>> changes = {
      {"job hash", [](HostFacts& it) { it.job_hash = "other"; }},
      {"number of shards", [](HostFacts& it) { it.shards = 9; }},
      {"number of blocks", [](HostFacts& it) { it.blocks = 9; }},
      {"first round", [](HostFacts& it) { it.first_round = 9; }},
      {"state hash", [](HostFacts& it) { it.state_hash = "other"; }},
      {"build", [](HostFacts& it) { it.fingerprint["build"] = "other"; }},
      {"libtorch", [](HostFacts& it) { it.fingerprint["libtorch"] = "other"; }},
      {"probe", [](HostFacts& it) { it.fingerprint["probe"] = "other"; }}};
  for (const auto& [what, change] : changes) {
    Hub hub;
    hub.join(0);
    hub.join(1);
    hub.ready(1);
    HostFacts other = facts();
    change(other);
    hub.feed(HostIsReady{0, other});
    ASSERT_NE(hub.asked<EndRun>(), nullptr) << what;
    const Error& error = *hub.asked<EndRun>()->error;
    EXPECT_EQ(error.kind, ErrorKind::kMismatch);
    EXPECT_EQ(error.message.find(cat("host h0 and host h1 differ in ", what, ": '")), 0U)
        << error.message;
  }
}

TEST(DecideHosts, OtherProcessorsAreOnlyToldOf) {
  Hub hub;
  hub.join(0);
  hub.join(1);
  hub.ready(0);
  HostFacts other = facts();
  other.fingerprint["processor"] = "q";
  other.fingerprint["probe"] = "y";
  hub.feed(HostIsReady{1, other});
  ASSERT_NE(hub.asked<Tell>(), nullptr);
  EXPECT_EQ(hub.asked<Tell>()->kind, "warning");
  EXPECT_NE(hub.asked<TellLineup>(), nullptr);
}

TEST(DecideHosts, EachHostNeedsAShard) {
  Hub hub(3, 3);
  HostFacts few = facts();
  few.shards = 2;
  for (const HostId host : {0U, 1U, 2U}) hub.join(host);
  for (const HostId host : {0U, 1U, 2U}) hub.feed(HostIsReady{host, few});
  ASSERT_NE(hub.asked<EndRun>(), nullptr);
  EXPECT_EQ(hub.asked<EndRun>()->error->kind, ErrorKind::kInvalid);
}

TEST(DecideHosts, OneThatIsLostBeforeTheFirstGoIsLeftOut) {
  Hub hub(2, 3);
  for (const HostId host : {0U, 1U, 2U}) hub.join(host);
  hub.ready(0);
  hub.ready(1);
  hub.feed(HostLost{2, "gone"});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.lineup().hosts.size(), 2U);
  EXPECT_EQ(hub.asked<Halt>(), nullptr);
}

TEST(DecideHosts, ALineupThatNobodyWentOnWithIsToldAnew) {
  Hub hub(2, 3);
  for (const HostId host : {0U, 1U, 2U}) hub.join(host);
  for (const HostId host : {0U, 1U, 2U}) hub.ready(host);
  hub.feed(HostTook{0, 1});
  hub.feed(HostLost{2, "gone"});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.lineup().number, 2U);
  EXPECT_EQ(hub.lineup().first_round, 7U);
  hub.feed(HostTook{1, 1});  // late
  hub.feed(HostTook{0, 2});
  EXPECT_EQ(hub.asked<Go>(), nullptr);
  hub.feed(HostTook{1, 2});
  EXPECT_NE(hub.asked<Go>(), nullptr);
}

// The one that had taken the line-up with the old link waited for ever for what was sent by it.
TEST(DecideHosts, WhereALinkBreaksBeforeTheFirstGoAllTakeItAnew) {
  Hub hub;
  hub.join(0);
  hub.join(1);
  hub.ready(0);
  hub.ready(1);
  hub.feed(HostTook{1, 1});
  hub.feed(HostBroken{1});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  EXPECT_EQ(hub.asked<TellLineup>()->lineup, assign_hosts(2, 7, {{0, 1, 1}, {1, 1, 1}}, 8, 100));
  hub.feed(HostTook{0, 1});
  hub.feed(HostTook{0, 2});
  EXPECT_EQ(hub.asked<Go>(), nullptr);
  hub.feed(HostTook{1, 2});
  EXPECT_NE(hub.asked<Go>(), nullptr);
}

TEST(DecideHosts, WithTooFewBeforeTheFirstGoItGathersAgain) {
  Hub hub;
  hub.join(0);
  hub.join(1);
  hub.ready(0);
  hub.feed(HostLost{1, "gone"});
  EXPECT_EQ(hub.state.phase, HostsPhase::kGathering);
  hub.join(1);  // is gone for good
  EXPECT_EQ(hub.state.hosts.size(), 1U);
  hub.join(2);
  ASSERT_NE(hub.asked<Begin>(), nullptr);
  EXPECT_EQ(hub.asked<Begin>()->hosts.size(), 2U);
  hub.ready(2);  // host 0 has said so before
  EXPECT_NE(hub.asked<TellLineup>(), nullptr);
}

TEST(DecideHosts, ALossHaltsTheOthersWhoGoOnWithItsShards) {
  Hub hub(2, 3);
  hub.to_running(3);
  hub.feed(HostLost{1, "the connection was closed"});
  ASSERT_NE(hub.asked<Halt>(), nullptr);
  EXPECT_EQ(hub.asked<Halt>()->number, 2U);
  EXPECT_EQ(hub.asked<Halt>()->lost, 1U);
  EXPECT_EQ(hub.asked<Halt>()->to, (std::vector<HostId>{0, 2}));
  EXPECT_NE(hub.asked<Tell>()->text.find("h1 is lost (the connection was closed)"),
            std::string::npos);
  hub.feed(HostStands{0, 1, 30});  // of an earlier one
  hub.feed(HostStands{1, 2, 30});  // of one that is lost
  hub.feed(HostStands{0, 2, 20});
  EXPECT_TRUE(hub.newest.empty());
  const Lineup before = hub.lineup();
  hub.feed(HostStands{2, 2, 21});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  Lineup expected = keep_hosts(before, {{0, 1, 1}, {2, 1, 1}}, 2, 21);
  expected.donor = 2;
  EXPECT_EQ(hub.asked<TellLineup>()->lineup, expected);
  hub.feed(HostTook{0, 2});
  hub.feed(HostTook{2, 2});
  ASSERT_NE(hub.asked<Go>(), nullptr);
  EXPECT_EQ(hub.asked<Go>()->number, 2U);
}

TEST(DecideHosts, NobodyIsADonorWhereNobodyIsBehind) {
  Hub hub(2, 3);
  hub.to_running(3);
  hub.feed(HostLost{0, "gone"});
  hub.feed(HostStands{1, 2, 20});
  hub.feed(HostStands{2, 2, 20});
  EXPECT_FALSE(hub.lineup().donor);
  EXPECT_EQ(hub.lineup().first_round, 20U);
}

TEST(DecideHosts, AnotherLossMeanwhileAsksAllAgain) {
  Hub hub(1, 4);
  hub.to_running(4);
  hub.feed(HostLost{3, "gone"});
  hub.feed(HostStands{0, 2, 20});
  hub.feed(HostLost{2, "gone"});
  EXPECT_EQ(hub.asked<Halt>()->number, 3U);
  hub.feed(HostStands{0, 3, 21});
  hub.feed(HostStands{1, 2, 20});  // late
  EXPECT_EQ(hub.asked<TellLineup>(), nullptr);
  hub.feed(HostStands{1, 3, 20});
  ASSERT_NE(hub.asked<TellLineup>(), nullptr);
  // And one in the midst of a new line-up.
  hub.feed(HostTook{0, 3});
  hub.feed(HostLost{0, "gone"});
  EXPECT_EQ(hub.asked<Halt>()->number, 4U);
  // The only one that had round 20's result is lost, so that is made again.
  hub.feed(HostStands{1, 4, 20});
  EXPECT_EQ(hub.lineup().first_round, 20U);
  EXPECT_EQ(hub.lineup().hosts[0].shards.size(), 8U);
}

TEST(DecideHosts, ARunWithTooFewAgentsEndsAndSaysHowItGoesOn) {
  Hub hub;
  hub.to_running(2);
  hub.feed(HostLost{1, "gone"});
  ASSERT_NE(hub.asked<EndRun>(), nullptr);
  EXPECT_EQ(hub.asked<EndRun>()->error->kind, ErrorKind::kUnavailable);
  EXPECT_NE(hub.asked<EndRun>()->error->message.find("instep resume"), std::string::npos);
}

TEST(DecideHosts, OneThatLeavesIsNoAlarm) {
  Hub hub(1, 2);
  hub.to_running(2);
  hub.feed(HostLeaves{1});
  EXPECT_EQ(hub.asked<Tell>()->kind, "left");
  EXPECT_NE(hub.asked<Halt>(), nullptr);
  hub.feed(HostLost{1, "gone"});
  EXPECT_TRUE(hub.newest.empty());
}

// The first host stood still for 16 s, and lost all others as soon as it went on.
TEST(DecideHosts, WhoStoodStillItselfLosesNobody) {
  Hub hub;
  hub.to_running(2);
  hub.feed(HostBroken{1});
  for (HostId host = 0; host < 2; ++host) hub.feed(HostStands{host, 2, 9});
  hub.now = *next_deadline(hub.state) + 2 * kSecond;
  hub.feed(HostTook{0, 2});
  EXPECT_TRUE(hub.newest.empty());
  hub.feed(HostTook{1, 2});
  EXPECT_NE(hub.asked<Go>(), nullptr);
}

TEST(DecideHosts, WhoIsDoneIsNotMissed) {
  Hub hub;
  hub.to_running(2);
  hub.feed(HostDone{1});
  hub.feed(HostDone{0});
  EXPECT_NE(hub.asked<EndRun>(), nullptr);
  Hub other(1, 3);
  other.to_running(3);
  other.feed(HostDone{0});
  other.feed(HostDone{1});
  other.feed(HostLost{2, "gone"});
  ASSERT_NE(other.asked<EndRun>(), nullptr);
  EXPECT_FALSE(other.asked<EndRun>()->error);
}

TEST(DecideHosts, HostsThatStandTooFarApartEndTheRun) {
  Hub hub(1, 3);
  hub.to_running(3);
  hub.feed(HostLost{2, "gone"});
  hub.feed(HostStands{0, 2, 20});
  hub.feed(HostStands{1, 2, 22});
  ASSERT_NE(hub.asked<EndRun>(), nullptr);
  EXPECT_EQ(hub.asked<EndRun>()->error->kind, ErrorKind::kInternal);
}

}  // namespace
}  // namespace instep::member
