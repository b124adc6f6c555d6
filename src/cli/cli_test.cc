#include "cli/cli.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/machine.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/testing.h"
#include "coord/run_dir.h"
#include "coord/scale.h"
#include "coord/steering.h"

namespace instep::cli {
namespace {
namespace fs = std::filesystem;

const char* const kJob = R"(version = 1
name = "small"
epochs = 3
batch = 64
shards = 4
loss = "cross-entropy"
[model]
kind = "mlp"
layers = [20, 8, 2]
[data]
format = "synthetic"
samples = 1000
classes = 2
[optimizer]
kind = "adam"
)";

TEST_F(CliTest, MisuseIsOneClearErrorAndCode2) {
  const auto misused = [this](const std::vector<std::string>& words, const std::string& sign) {
    EXPECT_EQ(instep(words), 2) << errors_;
    EXPECT_TRUE(says(sign)) << errors_;
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
    EXPECT_TRUE(out_.empty()) << out_;
  };
  misused({"rnu"}, "did you mean 'run'?");
  misused({"train-it"}, "there are run, resume, coordinator");
  misused({"run", "--quite", "x.toml"}, "did you mean '--quiet'?");
  misused({"run", "--reprot=x", "x.toml"}, "did you mean '--report'?");
  misused({"run"}, "needs a job file");
  misused({"run", "a.toml", "b.toml"}, "'b.toml'");
  misused({"run", "x.toml", "-n", "many"}, "many");
  misused({"run", "no.toml"}, "no.toml");
  misused({"resume"}, "RUN");
  misused({"resume", "no-such-run"}, "no-such-run");
  misused({"stop", "no-such-run"}, "no-such-run");
  misused({"inspect", "no-such-run"}, "no-such-run");
  misused({"eval", "no-such-run"}, "no-such-run");
  misused({"predict", "c", "no-input"}, "no-input");
  misused({"ls", "--", "x"}, "takes no program");
  misused({"run", "-n", "2", "--", "./missing-program"}, "./missing-program");
  misused({"run", "-n", "0", "--", "/bin/true"}, "1 to 64");
  misused({"scale", "no-such-run", "-n", "2"}, "no-such-run");
  misused({"scale", "no-such-run"}, "--agents is required");
  misused({"token", "no-such-run"}, "no-such-run");
  misused({"token", "r", "--revok", "x"}, "did you mean '--revoke'?");
  misused({"token", "r", "--make", "--revoke", "x"}, "excludes");
  misused({"token", "r", "--uses", "1"}, "--make");
  misused({"token", "r", "--ttl", "1h"}, "--make");
  for (const char* uses : {"0", "-1", "many", "", "1.5", "1000001", "99999999999"}) {
    misused({"token", "r", "--make", "--uses", uses}, cat("found '", uses, "'; allowed: a number"));
  }
  for (const char* ttl : {"0s", "10", "1w", "", "-1h"}) {
    misused({"token", "r", "--make", "--ttl", ttl}, cat("found '", ttl, "'; allowed: a time"));
  }
  misused({"audit", "no-such-run"}, "no-such-run");
  misused({"audit", "r", "--jsn"}, "did you mean '--json'?");
  misused({"run", "--report", "no/such/folder/r.json", "--", "/bin/true"}, "--report");
  EXPECT_FALSE(fs::exists("runs"));  // nothing was begun
}

TEST_F(CliTest, MistakesAboutAgentsAndFaultsAreSaidBeforeARunBegins) {
  const auto misused = [this](const std::vector<std::string>& flags, const std::string& sign) {
    for (const char* command : {"run", "resume"}) {
      std::vector<std::string> words = {command, "no-such"};
      words.insert(words.end(), flags.begin(), flags.end());
      EXPECT_EQ(instep(words), 2) << errors_;
      EXPECT_TRUE(says(sign)) << errors_;
      EXPECT_TRUE(says(flags[0] == "-n" ? "--agents" : flags[0])) << errors_;
      EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
    }
  };
  for (const char* flag : {"-n", "--nnodes"}) {
    misused({flag, "4:2"}, "found '4:2'; allowed: MIN:MAX with MIN at most MAX");
    for (const char* text : {"0", "0:2", "1:0", "1:65", "2:", ":2", ":", "1:2:3", "a:b", "1-4",
                             "+1", "1: 2", "99999999999", "1.5"}) {
      misused({flag, text}, cat("found '", text, "'; allowed: a number of agents, 1 to 64, or"));
    }
  }
  misused({"-n", "2", "--nnodes", "3"}, "excludes");
  misused({"--fault", "kil 2 at 100"}, "did you mean 'kill'?");
  misused({"--fault", ""}, "part 1 is empty");
  misused({"--chaos", "seed=7"}, "lacks the mean time");
  EXPECT_FALSE(fs::exists("runs"));
}

TEST(Agents, AreANumberOrARange) {
  const auto range = [](const char* text) {
    const auto read = parse_agents(text);
    return read.ok() ? cat(read->least, "-", read->most) : read.error().message;
  };
  EXPECT_EQ(range("4"), "1-4");
  EXPECT_EQ(range("2:6"), "2-6");
  EXPECT_EQ(range("64:64"), "64-64");
}

TEST(Drills, AreThereWhereAskedFor) {
  Options options;
  EXPECT_FALSE(*plan_drill(options));
  options.fault = "kill 0 at 1";
  EXPECT_TRUE(*plan_drill(options));
  options.chaos = "mtbf=2s";
  EXPECT_TRUE(*plan_drill(options));
  options.chaos = "mtbf=2";
  EXPECT_FALSE(plan_drill(options).ok());
}

TEST_F(CliTest, HelpAndVersion) {
  EXPECT_EQ(instep({"--version"}), 0);
  EXPECT_TRUE(shows("instep 0."));
  EXPECT_EQ(instep({"--help"}), 0);
  EXPECT_TRUE(shows("resume"));
  EXPECT_EQ(instep({"run", "--help"}), 0);
  EXPECT_TRUE(shows("--run-dir"));
  EXPECT_EQ(instep({}), 2);
}

TEST_F(CliTest, CheckShowsWhatWouldRunAndWhereItComesFrom) {
  write("job.toml", kJob);
  ::setenv("INSTEP_SET", "seed=7", 1);
  EXPECT_EQ(instep({"check", "job.toml", "--set", "epochs=5", "--set", "optimizer.lr=0.5"}), 0)
      << errors_;
  ::unsetenv("INSTEP_SET");
  EXPECT_TRUE(shows("186 parameters")) << out_;
  EXPECT_TRUE(shows("1,000 training")) << out_;
  EXPECT_TRUE(shows("16 an epoch, 80 in all")) << out_;
  EXPECT_TRUE(shows("4 of 16 samples")) << out_;
  EXPECT_TRUE(shows("(--set)")) << out_;
  EXPECT_TRUE(shows("(INSTEP_SET)")) << out_;
  EXPECT_TRUE(shows("(job.toml:4)") || shows("job.toml:4)")) << out_;
  EXPECT_TRUE(shows("(default)")) << out_;
  EXPECT_TRUE(errors_.empty()) << errors_;
  // A folder with one job file in it.
  EXPECT_EQ(instep({"check", "."}), 0);
  write("other.toml", kJob);
  EXPECT_EQ(instep({"check", "."}), 2);
}

TEST_F(CliTest, CheckFindsWhatCannotRun) {
  write("job.toml", kJob);
  EXPECT_EQ(instep({"check", "job.toml", "--set", "model.layers=[21,8,2]"}), 2);
  EXPECT_TRUE(says("model.layers")) << errors_;
  EXPECT_EQ(instep({"check", "job.toml", "--set", "epochz=1"}), 2);
  EXPECT_TRUE(says("epochs")) << errors_;
  EXPECT_EQ(instep({"check", "job.toml", "--set", "batch=8"}), 0);
  EXPECT_TRUE(says("can cost more than 10%")) << errors_;
}

TEST_F(CliTest, ARunThatIsNotRunningCannotBeStopped) {
  {
    auto run = coord::RunDir::create("r", "j").take();
    coord::RunInfo info;
    info.state = "running";
    info.pid = ::getpid();
    ASSERT_TRUE(run.write_info(info).ok());
    run.enlist();
    EXPECT_EQ(instep({"ls"}), 0);
    EXPECT_TRUE(shows("running"));
  }
  EXPECT_EQ(instep({"ls"}), 0);
  EXPECT_TRUE(shows("died")) << out_;
  EXPECT_EQ(instep({"stop", "r"}), 2);
  EXPECT_TRUE(says("is not running"));
  EXPECT_EQ(instep({"scale", "r", "-n", "3"}), 2);
  EXPECT_TRUE(says("is not running")) << errors_;
  EXPECT_EQ(instep({"resume", "r"}), 2);
  EXPECT_TRUE(says("checkpoint")) << errors_;
}

TEST_F(CliTest, ARunIsScaledByItsLauncher) {
  class Room : public coord::Steering {
   public:
    std::uint64_t round() const override { return 0; }
    std::vector<member::AgentId> agents() const override { return {}; }
    std::uint32_t wanted() const override { return wanted_; }
    bool signal(member::AgentId, int) override { return false; }
    Status scale(std::uint32_t agents) override {
      if (agents > 16) return invalid("-n 17: this run has room for 16 agents");
      wanted_ = agents;
      return {};
    }
    Status join() override { return {}; }
    Status leave(member::AgentId) override { return {}; }
    Status flip_bit(std::uint64_t) override { return {}; }

   private:
    std::uint32_t wanted_ = 1;
  };
  auto run = coord::RunDir::create("r", "j").take();
  ASSERT_TRUE(run.write_info({}).ok());
  EXPECT_EQ(instep({"scale", "r", "-n", "3"}), 1);
  EXPECT_TRUE(says("beginning or ending")) << errors_;
  auto server = coord::ScaleServer::listen(run.path()).take();
  std::atomic<bool> over = false;
  std::thread launcher([&] {
    Room room;
    while (!over) server.serve(room, 0);
  });
  EXPECT_EQ(instep({"scale", "r", "-n", "3"}), 0) << errors_;
  EXPECT_TRUE(shows("shall have 3 agents, 1 before")) << out_;
  EXPECT_EQ(instep({"scale", "r", "-n", "17"}), 2);
  EXPECT_TRUE(says("room for 16 agents")) << errors_;
  EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
  EXPECT_EQ(instep({"scale", "r", "-n", "1", "-q"}), 0) << errors_;
  EXPECT_TRUE(out_.empty()) << out_;
  over = true;
  launcher.join();
}

TEST_F(CliTest, AFolderThatIsNoRunIsNotResumed) {
  fs::create_directory("plain");
  EXPECT_EQ(instep({"resume", "plain"}), 2);
  EXPECT_TRUE(says("no run directory"));
  EXPECT_TRUE(fs::is_empty("plain"));
}

TEST_F(CliTest, ReportsAreWrittenWhereAsked) {
  EXPECT_TRUE(check_report("").ok());
  EXPECT_TRUE(check_report("r.json").ok());
  EXPECT_FALSE(fs::exists("r.json"));
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_FALSE(check_report(folder_.string()).ok());
  EXPECT_TRUE(write_report("r.json", "{}").ok());
  EXPECT_EQ(*read_file("r.json", 10), "{}");
  EXPECT_TRUE(check_report("/dev/null").ok());
  EXPECT_TRUE(write_report("/dev/null", "{}").ok());
  EXPECT_FALSE(write_report("/dev/full", "{}").ok());
}

TEST_F(CliTest, AgentsByDefaultFillTheMachineAndNoMore) {
  Options options;
  const auto cpus = static_cast<std::uint32_t>(usable_cpu_count());
  EXPECT_EQ(*agent_count(options, 1, 1), 1U);
  EXPECT_EQ(*agent_count(options, 1, 1000), std::min(cpus, 64U));
  EXPECT_EQ(*agent_count(options, 100000, 8), 1U);
  options.agents = 65;
  EXPECT_FALSE(agent_count(options, 1, 8).ok());
  options.agents = cpus + 1;
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(*agent_count(options, 1, 8), cpus + 1);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("wait for each other"),
            std::string::npos);
}

}  // namespace
}  // namespace instep::cli
