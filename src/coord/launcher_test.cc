#include "coord/launcher.h"
#include "base/machine.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "base/testing_folder.h"
#include "base/time.h"
#include "coord/fake_agent_test.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;
using member::Reason;

class LauncherTest : public FolderTest {
 protected:
  void SetUp() override {
    fs::create_directory(folder_ / "logs");
    plan_.agents = 2;
    plan_.program = fs::read_symlink("/proc/self/exe");
    plan_.job.emplace();
    plan_.job->name = "test";
    plan_.run_dir = folder_;
    plan_.quiet = true;
    plan_.start_ns = monotonic_ns();
    // Before there are other threads, which would die of what is meant for the launcher.
    sigset_t stops;
    ::sigemptyset(&stops);
    for (const int signal : {SIGINT, SIGTERM}) ::sigaddset(&stops, signal);
    ::pthread_sigmask(SIG_BLOCK, &stops, nullptr);
  }
  void TearDown() override {
    // Whatever happened, no child is left: there is none to wait for.
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
    ::unsetenv(kFakeAgent);
  }
  LaunchResult run(const std::string& behaviour) {
    ::setenv(kFakeAgent, behaviour.c_str(), 1);
    return launch(plan_);
  }
  std::string text(const char* name) { return *read_file(folder_ / name, 1 << 20); }
  // Waits until a file of the run has this sign. Where it never comes the test fails and goes on:
  // what it does next ends the run.
  void wait_for(const char* name, const std::string& sign) {
    const std::int64_t end = monotonic_ns() + 60 * kSecond;
    while (monotonic_ns() < end) {
      const auto content = read_file(folder_ / name, 1 << 20);
      if (content.ok() && content->find(sign) != std::string::npos) return;
      std::this_thread::yield();
    }
    ADD_FAILURE() << name << " never said " << sign;
  }
  // Sends `signal` to this process when a file of the run has this sign.
  std::thread signal_when(const char* name, const std::string& sign, int signal) {
    return std::thread([this, name, sign, signal] {
      wait_for(name, sign);
      ::kill(::getpid(), signal);
    });
  }
  LaunchPlan plan_;
};

TEST_F(LauncherTest, AWholeRunIsRecordedAndReported) {
  const LaunchResult result = run("all:train");
  EXPECT_EQ(result.outcome.reason, Reason::kFinished) << result.message;
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(result.began);
  const Json report = Json::parse(result.report);
  EXPECT_EQ(report["rounds"], 3);
  EXPECT_EQ(report["agents"], 2);
  EXPECT_EQ(report["shards"], 2);
  EXPECT_EQ(report["bytes"]["sent"], 20);
  EXPECT_EQ(report["job"]["name"], "test");
  EXPECT_EQ(report["events"][0]["kind"], "slow");
  EXPECT_NEAR(report["seconds"]["start"].get<double>(), 0.5, 1e-3);
  const std::string metrics = text("metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 5);
  EXPECT_NE(text("events.jsonl").find("\"view\""), std::string::npos);
}

TEST_F(LauncherTest, MoreAgentsThanShardsStandBy) {
  plan_.agents = 5;
  EXPECT_EQ(run("all:train").outcome.reason, Reason::kFinished);
  EXPECT_NE(text("events.jsonl").find("\"spares\":[2,3,4]"), std::string::npos);
}

TEST_F(LauncherTest, ADeadAgentIsDroppedByAViewAndNamed) {
  std::thread sender = signal_when("events.jsonl", "\"epoch\":\"1.2\"", SIGTERM);
  const LaunchResult result = run("all:forever,1:kill");
  sender.join();
  EXPECT_EQ(result.outcome.reason, Reason::kStopped) << result.message;
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(text("events.jsonl").find("\"members\":[0]"), std::string::npos);
  const Json report = Json::parse(result.report);
  Json died;
  for (const Json& event : report["events"]) {
    if (event["kind"] == "died") died = event;
  }
  EXPECT_EQ(died["agent"], 1);
  EXPECT_EQ(died["reason"], "killed by signal 9");
  EXPECT_EQ(report["rounds"], 3);
  // Another one was started in its place, in a slot that nobody had read.
  EXPECT_TRUE(fs::exists(folder_ / "logs" / "agent-2.log"));
}

TEST_F(LauncherTest, WithoutReplacementNobodyIsStarted) {
  plan_.replace = false;
  std::thread sender = signal_when("events.jsonl", "\"epoch\":\"1.2\"", SIGTERM);
  const LaunchResult result = run("all:forever,1:kill");
  sender.join();
  EXPECT_EQ(result.outcome.reason, Reason::kStopped) << result.message;
  EXPECT_FALSE(fs::exists(folder_ / "logs" / "agent-2.log"));
}

TEST_F(LauncherTest, WhenNoneCanBeStartedTheRunEndsAndNamesTheDead) {
  plan_.replace = false;
  const LaunchResult result = run("all:kill");
  EXPECT_EQ(result.outcome.reason, Reason::kKilled);
  EXPECT_EQ(result.outcome.code, SIGKILL);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(result.report.empty());
}

// Each generation dies as the one before: a pause, new agents, and after the third the end.
TEST_F(LauncherTest, ARoundThatKillsEverybodyEndsTheRun) {
  plan_.agents = 1;
  const LaunchResult result = run("all:kill");
  EXPECT_EQ(result.outcome.reason, Reason::kCrashLoop) << result.message;
  EXPECT_NE(text("events.jsonl").find("\"paused\""), std::string::npos);
}

TEST_F(LauncherTest, ADrillSteersTheRun) {
  std::vector<member::AgentId> seen;
  int turns = 0;
  plan_.drill = [&](Steering& run, std::int64_t now) -> std::optional<std::int64_t> {
    if (++turns == 1) {
      seen = run.agents();
      EXPECT_EQ(run.wanted(), 2U);
      EXPECT_FALSE(run.scale(0).ok());
      EXPECT_FALSE(run.scale(17).ok());
      EXPECT_FALSE(run.leave(7).ok());
      EXPECT_FALSE(run.signal(7, SIGKILL));
      EXPECT_TRUE(run.join().ok());
      EXPECT_EQ(run.wanted(), 3U);
      EXPECT_TRUE(run.signal(1, SIGKILL));
      return now;
    }
    if (run.agents() == seen) return now;
    EXPECT_EQ(run.agents(), (std::vector<member::AgentId>{0}));
    ::kill(::getpid(), SIGTERM);
    return std::nullopt;
  };
  const LaunchResult result = run("all:forever");
  EXPECT_EQ(result.outcome.reason, Reason::kStopped) << result.message;
  EXPECT_EQ(seen, (std::vector<member::AgentId>{0, 1}));
  EXPECT_NE(text("events.jsonl").find("3 agents are wanted instead of 2"), std::string::npos);
}

TEST_F(LauncherTest, TheEndOfTheLogIsShown) {
  const LaunchResult result = run("all:deaf,1:exit3");
  EXPECT_EQ(result.outcome.reason, Reason::kExited);
  EXPECT_NE(result.message.find("agent 1 ended with exit code 3"), std::string::npos);
  EXPECT_NE(result.message.find("    the dog ate the gradient"), std::string::npos);
}

TEST_F(LauncherTest, AnAgentsErrorIsTheRuns) {
  const LaunchResult result = run("all:forever,0:failed");
  EXPECT_EQ(result.message, "the loss is NaN in round 7, shard 1");
  EXPECT_EQ(result.exit_code, 2);
}

TEST_F(LauncherTest, AStrangerIsRefused) {
  const LaunchResult result = run("all:train,1:stranger");
  EXPECT_EQ(result.outcome.reason, Reason::kFingerprint);
  EXPECT_NE(result.message.find("build"), std::string::npos);
  EXPECT_NE(result.message.find("'other'"), std::string::npos);
  EXPECT_NE(result.message.find("'same'"), std::string::npos);
  EXPECT_FALSE(result.began);
  EXPECT_EQ(result.exit_code, 2);
}

TEST_F(LauncherTest, AnAgentThatHangsUpIsEnded) {
  const LaunchResult result = run("all:forever,1:hangup");
  EXPECT_EQ(result.outcome.reason, Reason::kLinkEnded) << result.message;
}

TEST_F(LauncherTest, AMissingDatasetIsTheOneError) {
  plan_.job->data.format = job::DataFormat::kCsv;
  plan_.job->data.train_samples = (folder_ / "no.csv").string();
  const LaunchResult result = run("all:train");
  EXPECT_EQ(result.outcome.reason, Reason::kLauncher);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.message.find("no.csv"), std::string::npos);
}

TEST_F(LauncherTest, ADatasetIsHandedOut) {
  plan_.job->data.format = job::DataFormat::kSynthetic;
  EXPECT_EQ(run("all:train").outcome.reason, Reason::kFinished);
}

TEST_F(LauncherTest, AProgramThatCannotBeExecutedIsOneError) {
  plan_.program = folder_ / "nothing";
  const LaunchResult result = run("all:train");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.message.find("nothing"), std::string::npos);
}

TEST_F(LauncherTest, AnInterruptStopsAndIsNoFailure) {
  std::thread sender = signal_when("events.jsonl", "view", SIGINT);
  const LaunchResult result = run("all:forever");
  sender.join();
  EXPECT_EQ(result.outcome.reason, Reason::kStopped);
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(Json::parse(result.report)["stopped"], "interrupt");
}

TEST_F(LauncherTest, AStopIsASuccess) {
  std::thread sender = signal_when("events.jsonl", "view", SIGTERM);
  const LaunchResult result = run("all:forever");
  sender.join();
  EXPECT_EQ(result.outcome.reason, Reason::kStopped);
  EXPECT_EQ(result.exit_code, 0);
}

TEST_F(LauncherTest, ASecondInterruptKills) {
  std::thread first = signal_when("events.jsonl", "view", SIGINT);
  std::thread second = signal_when("events.jsonl", "\"stop\"", SIGINT);
  const LaunchResult result = run("all:deaf");
  first.join();
  second.join();
  EXPECT_EQ(result.outcome.reason, Reason::kAbandoned);
  EXPECT_EQ(result.exit_code, 130);
}

TEST_F(LauncherTest, TheWallTimeStops) {
  plan_.job->stop.wall_seconds = 1e-9;
  const LaunchResult result = run("all:forever");
  EXPECT_EQ(result.outcome.reason, Reason::kStopped);
  EXPECT_EQ(result.outcome.stop_reason, "wall time");
  EXPECT_EQ(result.exit_code, 0);
}

TEST_F(LauncherTest, AnOwnProgramsLinesArePassedOnWithTheirAgent) {
  plan_.own_program = true;
  plan_.job.reset();
  ::testing::internal::CaptureStdout();
  const LaunchResult result = run("all:chatty");
  const std::string out = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(result.outcome.reason, Reason::kFinished) << result.message;
  for (const char* line : {"[0] one\n", "[1] one\n", "[0] two without an end\n"}) {
    EXPECT_NE(out.find(line), std::string::npos) << out;
  }
}

TEST_F(LauncherTest, AProgramThatIsNotOursIsNamedSo) {
  plan_.own_program = true;
  plan_.job.reset();
  const LaunchResult result = run("all:early");
  EXPECT_EQ(result.outcome.reason, Reason::kExited);
  EXPECT_NE(result.message.find("instep::Run"), std::string::npos);
}

TEST_F(LauncherTest, APredictionNeedsNoView) {
  plan_.mode = Mode::kPredict;
  plan_.agents = 1;
  plan_.predict_input = "7.png";
  ::testing::internal::CaptureStdout();
  const LaunchResult result = run("all:train");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "prediction of 7.png\n");
  EXPECT_EQ(result.outcome.reason, Reason::kFinished) << result.message;
}

// kill -9 of the launcher: the kernel ends its agents.
TEST_F(LauncherTest, AKilledLauncherLeavesNoAgent) {
  ::setenv(kFakeAgent, "all:deaf", 1);
  const pid_t launcher = ::fork();
  ASSERT_GE(launcher, 0);
  if (launcher == 0) {
    (void)launch(plan_);
    ::_exit(0);
  }
  std::thread killer([this, launcher] {
    wait_for("metrics.jsonl", "epoch");
    ::kill(launcher, SIGKILL);
  });
  killer.join();
  int status = 0;
  ASSERT_EQ(::waitpid(launcher, &status, 0), launcher);
  EXPECT_TRUE(WIFSIGNALED(status));
  // Nobody of its program is left that has our run's folder in its environment of behaviours.
  const auto left = [this] {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::error_code error;
      const fs::path out = fs::read_symlink(entry.path() / "fd/1", error);
      if (!error && out.string().rfind((folder_ / "logs").string(), 0) == 0) return true;
    }
    return false;
  };
  while (left()) std::this_thread::yield();  // the test's own time limit is the bound
}

}  // namespace
}  // namespace instep::coord
