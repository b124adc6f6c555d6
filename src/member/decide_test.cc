#include "member/decide.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <set>

#include "member/testing.h"

namespace instep::member {
namespace {

TEST(Decide, AWholeRun) {
  Driver driver(3);
  driver.hear(1, hello(1));
  EXPECT_TRUE(driver.all.empty());  // nobody is welcomed before the data is there
  driver.feed(Prepared{});
  EXPECT_EQ(driver.asked<SendWelcome>().size(), 1U);
  driver.hear(0, hello(0));
  driver.hear(2, hello(2));
  EXPECT_EQ(driver.asked<SendWelcome>().size(), 3U);
  driver.hear(2, ready());
  driver.hear(0, ready());
  EXPECT_TRUE(driver.asked<Publish>().empty());
  driver.hear(1, ready());
  ASSERT_EQ(driver.asked<Publish>().size(), 1U);
  const View view = driver.asked<Publish>()[0].view;
  EXPECT_EQ(view, assign({1, 1}, gather_op(3, 0), {0, 1, 2}, 8, 100, Owners::kAll, 0));
  driver.hear(0, wire::Progress{"epoch", "{}"});
  EXPECT_TRUE(driver.newest.empty());
  for (AgentId k = 0; k < 3; ++k) driver.hear(k, wire::Done{"{}"});
  EXPECT_EQ(driver.state.phase, Phase::kLeaving);
  for (AgentId k = 0; k < 3; ++k) {
    driver.feed(LinkEnded{k, ""});
    driver.feed(Exited{k, 0, 0});
  }
  EXPECT_EQ(driver.state.phase, Phase::kOver);
  EXPECT_EQ(driver.state.outcome.reason, Reason::kFinished);
  EXPECT_EQ(exit_code(driver.state.outcome), 0);
  EXPECT_FALSE(next_deadline(driver.state).has_value());
  EXPECT_TRUE(driver.asked<Signal>().empty());
}

TEST(Decide, DifferingFingerprintsNameTheKeyAndBothValues) {
  for (const bool missing : {false, true}) {
    Driver driver(2);
    driver.feed(Prepared{});
    driver.hear(0, hello(0));
    wire::Hello other = hello(1);
    if (missing) {
      other.fingerprint["extra"] = "e";
    } else {
      other.fingerprint["probe"] = "q";
    }
    driver.hear(1, other);
    const Outcome& outcome = driver.state.outcome;
    EXPECT_EQ(driver.state.phase, Phase::kEnding);
    EXPECT_EQ(outcome.reason, Reason::kFingerprint);
    EXPECT_EQ(outcome.what, missing ? "extra" : "probe");
    EXPECT_EQ(outcome.value, missing ? "e" : "q");
    EXPECT_EQ(outcome.expected, missing ? "(none)" : "p");
    EXPECT_EQ(exit_code(outcome), 2);
    // Only the welcomed one is told; nobody is welcomed any more.
    EXPECT_EQ(driver.asked<SendStop>().size(), 1U);
    EXPECT_EQ(driver.asked<SendWelcome>().size(), 1U);
  }
}

TEST(Decide, AgentsMustBeReadyForTheSame) {
  using Change = void (*)(wire::Ready&);
  const std::vector<std::pair<const char*, Change>> changes = {
      {"job hash", [](wire::Ready& r) { r.job_hash = "x"; }},
      {"job", [](wire::Ready& r) { r.job_json = "{\"epochs\":2}"; }},
      {"number of shards", [](wire::Ready& r) { r.shards = 9; }},
      {"number of blocks", [](wire::Ready& r) { r.blocks = 9; }},
      {"owners", [](wire::Ready& r) { r.owners = "servers"; }},
      {"number of servers", [](wire::Ready& r) { r.servers = 9; }},
      {"first round", [](wire::Ready& r) { r.first_round = 9; }},
      {"state hash", [](wire::Ready& r) { r.state_hash = "x"; }}};
  for (const auto& [what, change] : changes) {
    Driver driver(2);
    driver.feed(Prepared{});
    driver.hear(0, hello(0));
    driver.hear(1, hello(1));
    driver.hear(0, ready());
    wire::Ready other = ready();
    change(other);
    driver.hear(1, other);
    EXPECT_EQ(driver.state.outcome.reason, Reason::kDisagree);
    EXPECT_EQ(driver.state.outcome.what, what);
    EXPECT_TRUE(driver.asked<Publish>().empty());
  }
}

TEST(Decide, AnExitCodeTellsTheOthersThenTerminatesThenKills) {
  Driver driver(3);
  driver.to_running();
  driver.feed(LinkEnded{1, ""});
  EXPECT_EQ(driver.state.phase, Phase::kRunning);  // the news of its exit says more
  driver.feed(Exited{1, 5, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kExited);
  EXPECT_EQ(driver.state.outcome.code, 5);
  EXPECT_EQ(driver.state.outcome.agent, 1);
  EXPECT_EQ(driver.asked<SendStop>(driver.newest).size(), 2U);
  driver.pass(*next_deadline(driver.state) - driver.now);
  EXPECT_EQ(driver.signalled(SIGTERM), (std::set<AgentId>{0, 2}));
  driver.feed(Exited{0, 0, SIGTERM});
  driver.pass(*next_deadline(driver.state) - driver.now);
  EXPECT_EQ(driver.signalled(SIGKILL), (std::set<AgentId>{2}));
  driver.feed(Exited{2, 0, SIGKILL});
  EXPECT_EQ(driver.state.phase, Phase::kOver);
  EXPECT_EQ(driver.state.outcome.agent, 1);  // what our own signals did is no news
  EXPECT_EQ(exit_code(driver.state.outcome), 1);
}

TEST(Decide, AnAgentThatHangsUpAndStaysIsAFailure) {
  Driver driver(2);
  driver.to_running();
  driver.feed(LinkEnded{0, ""});
  driver.pass(driver.state.rules.exit_grace - kMillisecond);
  EXPECT_EQ(driver.state.phase, Phase::kRunning);
  driver.pass(kMillisecond);
  EXPECT_EQ(driver.state.outcome.reason, Reason::kLinkEnded);
  // The other one ends because it was told to; that once became the run's error.
  driver.feed(Exited{1, 0, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kLinkEnded);
  EXPECT_EQ(driver.state.outcome.agent, 0);
  driver.feed(Exited{0, 5, 0});  // and this says how the one that hung up went
  EXPECT_EQ(driver.state.outcome.code, 5);
}

// Two agents saw their peer vanish and said so before its own death was known: the run blamed them.
TEST(Decide, ACauseReplacesItsEcho) {
  Driver driver(3);
  driver.to_running();
  driver.hear(0, wire::Failed{int(ErrorKind::kUnavailable), "agent 2 is gone"});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kAgentFailed);
  driver.feed(Exited{1, 1, 0});  // told to end, and did
  EXPECT_EQ(driver.state.outcome.reason, Reason::kAgentFailed);
  driver.feed(Exited{2, 0, SIGKILL});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kKilled);
  EXPECT_EQ(driver.state.outcome.agent, 2);
  driver.feed(Exited{0, 1, 0});
  EXPECT_EQ(driver.state.outcome.agent, 2);
}

TEST(Decide, TheFirstErrorOfAnAgentIsTheRuns) {
  Driver driver(2);
  driver.to_running();
  driver.hear(1, wire::Failed{int(ErrorKind::kInvalid), "loss is NaN in round 7, shard 3"});
  driver.hear(0, wire::Failed{int(ErrorKind::kInvalid), "other"});
  EXPECT_EQ(describe(driver.state.outcome), "loss is NaN in round 7, shard 3");
  EXPECT_EQ(exit_code(driver.state.outcome), 2);
  driver.hear(1, wire::Failed{99, ""});  // an unknown kind is no crash
}

TEST(Decide, AnInterruptSavesAndASecondOneKills) {
  Driver driver(2);
  driver.to_running();
  driver.feed(StopAsked{"interrupt", true, true});
  EXPECT_EQ(driver.state.phase, Phase::kStopping);
  EXPECT_EQ(driver.asked<SendStop>().size(), 2U);
  EXPECT_FALSE(next_deadline(driver.state).has_value());  // saving may take its time
  Driver twice = driver;
  driver.hear(0, wire::Done{"{}"});
  driver.hear(1, wire::Done{"{}"});
  driver.feed(Exited{0, 0, 0});
  driver.feed(Exited{1, 0, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kStopped);
  EXPECT_EQ(exit_code(driver.state.outcome), 130);

  twice.feed(StopAsked{"wall time", false, false});  // no second signal
  EXPECT_EQ(twice.state.phase, Phase::kStopping);
  twice.feed(StopAsked{"interrupt", true, true});
  EXPECT_EQ(twice.signalled(SIGKILL), (std::set<AgentId>{0, 1}));
  twice.feed(Exited{0, 0, SIGKILL});
  twice.feed(Exited{1, 0, SIGKILL});
  EXPECT_EQ(twice.state.phase, Phase::kOver);
  EXPECT_EQ(twice.state.outcome.reason, Reason::kAbandoned);
  EXPECT_EQ(exit_code(twice.state.outcome), 130);
}

TEST(Decide, TheFirstSignalOfARunThatStopsAlreadyKillsNobody) {
  Driver driver(2);
  driver.to_running();
  driver.feed(StopAsked{"agent 1 was asked to leave", false, false});
  driver.feed(StopAsked{"stop", true, false});
  EXPECT_EQ(driver.state.phase, Phase::kStopping);
  EXPECT_TRUE(driver.signalled(SIGKILL).empty());
  driver.feed(StopAsked{"stop", true, false});
  EXPECT_EQ(driver.signalled(SIGKILL), (std::set<AgentId>{0, 1}));
}

TEST(Decide, AStopByCommandOrWallTimeIsASuccess) {
  Driver driver(1);
  driver.to_running();
  driver.feed(StopAsked{"wall time", false, false});
  driver.hear(0, wire::Done{"{}"});
  driver.feed(Exited{0, 0, 0});
  EXPECT_EQ(driver.state.outcome.stop_reason, "wall time");
  EXPECT_EQ(exit_code(driver.state.outcome), 0);
}

TEST(Decide, AnInterruptBeforeTheViewEndsWithoutSaving) {
  Driver driver(2);
  driver.hear(0, hello(0));
  driver.feed(StopAsked{"interrupt", true, true});
  EXPECT_EQ(driver.state.phase, Phase::kEnding);
  driver.feed(Prepared{});
  driver.hear(1, hello(1));
  EXPECT_TRUE(driver.asked<SendWelcome>().empty());
  driver.pass(*next_deadline(driver.state) - driver.now);
  EXPECT_EQ(driver.signalled(SIGTERM), (std::set<AgentId>{0, 1}));
}

TEST(Decide, AFailureOfTheLaunchersOwnEndsEverything) {
  Driver driver(2);
  driver.feed(LauncherFailed{invalid("t.csv:3: text")});
  EXPECT_EQ(describe(driver.state.outcome), "t.csv:3: text");
  driver.feed(Exited{0, 0, 0});
  driver.feed(Exited{1, 0, 0});
  EXPECT_EQ(driver.state.phase, Phase::kOver);
  EXPECT_EQ(exit_code(driver.state.outcome), 2);
}

TEST(Decide, AProgramThatNeverJoinsIsNamedSo) {
  Driver driver(1);
  driver.feed(LinkEnded{0, ""});
  driver.feed(Exited{0, 0, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kExited);
  EXPECT_NE(describe(driver.state.outcome).find("before it joined"), std::string::npos);
  EXPECT_EQ(driver.state.phase, Phase::kOver);
}

TEST(Decide, AnExitCodeAfterDoneCounts) {
  Driver driver(1);
  driver.to_running();
  driver.hear(0, wire::Done{"{}"});
  driver.feed(Exited{0, 3, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kExited);
  EXPECT_TRUE(driver.state.outcome.was_done);
  EXPECT_EQ(exit_code(driver.state.outcome), 1);
}

TEST(Decide, AnAgentThatIsDoneAndLingersIsEndedWithoutBlame) {
  Driver driver(1);
  driver.to_running();
  driver.hear(0, wire::Done{"{}"});
  driver.pass(*driver.state.rules.linger);
  EXPECT_EQ(driver.signalled(SIGTERM), (std::set<AgentId>{0}));
  driver.feed(Exited{0, 0, SIGTERM});
  EXPECT_EQ(driver.state.phase, Phase::kOver);
  EXPECT_EQ(driver.state.outcome.reason, Reason::kFinished);
}

// Timers are always a little late: were that a gap, no round's length would ever be known, and
// every hang would take the whole patience.
TEST(Decide, TheUsualLengthOfARoundIsLearntBySomebodyWhoWakesLate) {
  Driver driver(2);
  driver.to_running();
  Words words;
  words.view = words.taken = 1;
  for (int i = 0; i < 20; ++i) {
    driver.now = *next_observation(driver.state) + 300'000;
    words.started = words.released = round_op(static_cast<std::uint64_t>(10 * i));
    driver.feed(Observed{{words, words}});
  }
  EXPECT_NEAR(static_cast<double>(usual_round(driver.state)), 50.3e6 / 10, 1e6);
  EXPECT_EQ(patience(driver.state, Busy::kComputing), driver.state.rules.patience_floor);
  // A stop of its own is one.
  driver.now += 900 * kMillisecond;
  words.started = words.released = round_op(201);
  driver.feed(Observed{{words, words}});
  EXPECT_NEAR(static_cast<double>(usual_round(driver.state)), 50.3e6 / 10, 1e6);
}

// A host that stood still just after its first view killed its agents as it went on.
TEST(Decide, TheFirstLookEvictsNobodyHoweverLateItIs) {
  Driver driver(2);
  driver.to_running();
  driver.now += 2 * driver.state.rules.patience_ceiling;
  driver.feed(Observed{{Words{}, Words{}}});
  EXPECT_TRUE(driver.signalled(SIGKILL).empty());
}

// On a machine that had too much to do for a second, a host's one agent after the other was killed
// as hung, and after the third the run ended: "round 6144 kills one agent after the other".
TEST(Decide, PatienceGrowsWithEachDeathUntilARoundIsFinished) {
  Rules rules;
  rules.agents = 2;
  rules.slots = 8;
  Driver driver(rules);
  driver.to_running();
  Words words;
  words.view = words.taken = 1;
  for (std::uint64_t round = 4; round < 24; ++round) {
    driver.now = *next_observation(driver.state);
    words.started = words.released = round_op(round);
    driver.feed(Observed{{words, words}});
  }
  const Nanoseconds usual = patience(driver.state, Busy::kComputing);
  ASSERT_LT(4 * usual, rules.patience_ceiling);
  driver.feed(Exited{1, 0, SIGKILL, words});
  EXPECT_EQ(patience(driver.state, Busy::kComputing), 4 * usual);
  EXPECT_EQ(patience(driver.state, Busy::kOutside), rules.patience_ceiling);
  driver.state.deaths = 20;
  EXPECT_EQ(patience(driver.state, Busy::kComputing), rules.patience_ceiling);
  words.started = words.released = round_op(24);
  driver.now = *next_observation(driver.state);
  driver.feed(Observed{{words}});
  EXPECT_EQ(patience(driver.state, Busy::kComputing), usual);
}

// Between its killing and the news of its end it still counts.
TEST(Decide, NobodyIsStartedInThePlaceOfOneThatHangsWhereNobodyIsReplaced) {
  Rules rules;
  rules.agents = 2;
  rules.slots = 8;
  rules.replace = false;
  Driver driver(rules);
  driver.to_running();
  Words waits, hangs;
  waits.started = hangs.started = waits.released = hangs.released = round_op(3);
  waits.view = hangs.view = waits.taken = hangs.taken = 1;
  waits.busy = Busy::kWaiting;
  hangs.busy = Busy::kComputing;
  while (driver.signalled(SIGKILL).empty() && driver.now < 2 * rules.patience_ceiling) {
    driver.now += 20 * kMillisecond;
    ++waits.beats;
    driver.feed(Observed{{waits, hangs}});
  }
  EXPECT_EQ(driver.signalled(SIGKILL), std::set<AgentId>{1});
  driver.pass(20 * kMillisecond);
  driver.feed(Exited{1, 0, SIGKILL, hangs});
  driver.pass(20 * kMillisecond);
  EXPECT_TRUE(driver.asked<Start>().empty());
  EXPECT_EQ(driver.state.view->members, std::vector<AgentId>{0});
}

TEST(Decide, APredictingAgentNeedsNoView) {
  Driver driver(1, false);
  driver.feed(Prepared{});
  driver.hear(0, hello(0));
  driver.hear(0, wire::Done{"{}"});
  driver.feed(Exited{0, 0, 0});
  EXPECT_EQ(driver.state.outcome.reason, Reason::kFinished);
}

TEST(Decide, MessagesOutOfTurnAreRefused) {
  const std::vector<wire::Message> bad = {
      wire::Welcome{},         wire::ViewMessage{}, wire::StopRequest{}, wire::Ready{},
      wire::Propose{},         wire::Leaving{},     wire::Done{"{}"},    hello(1),
      wire::Hello{9, 0, 1, {}}};
  for (const wire::Message& message : bad) {
    Driver driver(2);
    driver.feed(Prepared{});
    driver.hear(0, message);
    EXPECT_EQ(driver.state.outcome.reason, Reason::kProtocol) << message.index();
  }
  for (const auto change :
       {+[](wire::Ready& r) { r.shards = 0; }, +[](wire::Ready& r) { r.shards = ~0U; },
        +[](wire::Ready& r) { r.owners = "some"; }}) {
    Driver driver(1);
    driver.feed(Prepared{});
    driver.hear(0, hello(0));
    wire::Ready message = ready();
    change(message);
    driver.hear(0, message);
    EXPECT_EQ(driver.state.outcome.reason, Reason::kProtocol);
  }
}

}  // namespace
}  // namespace instep::member
