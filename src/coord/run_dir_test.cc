#include "coord/run_dir.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/testing_folder.h"
#include "base/text.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

class RunDirTest : public WorkingFolderTest {
 protected:
  static RunInfo info(const RunDir& run) {
    RunInfo out;
    out.name = run.path().filename().string();
    out.job = "j";
    out.state = "running";
    out.pid = ::getpid();
    out.agents = 3;
    out.command = {"instep", "run", "\xff"};
    return out;
  }
};

TEST_F(RunDirTest, DefaultNamesNeverCollide) {
  auto a = RunDir::create(std::nullopt, "my job/../x");
  auto b = RunDir::create(std::nullopt, "my job/../x");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->path(), b->path());
  EXPECT_EQ(a->path().parent_path(), fs::canonical(folder_) / "runs");
  EXPECT_EQ(a->path().filename().string().rfind("my_job____x-", 0), 0U);
  EXPECT_TRUE(fs::is_directory(a->path() / "checkpoints"));
}

TEST_F(RunDirTest, OneLauncherAtATime) {
  auto first = RunDir::create("r", "j");
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(first->write_info(info(*first)).ok());
  EXPECT_TRUE(is_held(first->path()));
  auto second = RunDir::create("r", "j");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::kTaken);
  EXPECT_NE(second.error().message.find(cat("process ", ::getpid())), std::string::npos);
  EXPECT_EQ(RunDir::reopen("r").error().kind, ErrorKind::kTaken);
  { const RunDir ended = first.take(); }
  EXPECT_FALSE(is_held("r"));
  EXPECT_TRUE(RunDir::reopen("r").ok());
}

TEST_F(RunDirTest, AFolderWithSomethingInItIsTaken) {
  fs::create_directory("full");
  std::ofstream("full/thesis.txt") << "x";
  const auto taken = RunDir::create("full", "j");
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().kind, ErrorKind::kTaken);
  EXPECT_FALSE(fs::exists("full/lock"));  // and nothing was put there
  EXPECT_FALSE(RunDir::create("full/thesis.txt", "j").ok());
  fs::create_directory("empty");
  EXPECT_TRUE(RunDir::create("empty", "j").ok());
}

TEST_F(RunDirTest, InfoSurvives) {
  auto run = RunDir::create("r", "j").take();
  ASSERT_TRUE(run.write_info(info(run)).ok());
  auto back = read_info(run.path());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->job, "j");
  EXPECT_EQ(back->pid, ::getpid());
  EXPECT_EQ(back->agents, 3U);
  EXPECT_EQ(back->command.size(), 3U);
  std::ofstream(run.path() / "run.json") << "{";
  EXPECT_EQ(read_info(run.path()).error().kind, ErrorKind::kCorrupt);
}

TEST_F(RunDirTest, TheListFindsRunsByNameAndForgetsThoseGone) {
  {
    auto run = RunDir::create("first", "j").take();
    ASSERT_TRUE(run.write_info(info(run)).ok());
    run.enlist();
    run.enlist();  // once is enough
  }
  fs::create_directory("elsewhere");
  {
    auto run = RunDir::create("elsewhere/first", "j").take();
    ASSERT_TRUE(run.write_info(info(run)).ok());
    run.enlist();
  }
  EXPECT_EQ(list_runs().size(), 2U);
  fs::current_path(folder_ / "state");
  ASSERT_TRUE(find_run("first").ok());
  EXPECT_EQ(*find_run("first"), fs::canonical(folder_ / "first"));
  EXPECT_EQ(*find_run("first-2"), fs::canonical(folder_ / "elsewhere/first"));
  const auto unknown = find_run("frist");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::kNotFound);
  EXPECT_NE(unknown.error().message.find("'first'"), std::string::npos);
  fs::remove_all(folder_ / "first");
  EXPECT_EQ(list_runs().size(), 1U);
  EXPECT_FALSE(find_run("first").ok());
}

TEST_F(RunDirTest, DiscardLeavesWhatWasThereBefore) {
  auto fresh = RunDir::create("fresh", "j").take();
  std::ofstream("fresh/coordinator.journal.tmp") << "its writer was killed";
  EXPECT_TRUE(fresh.discard());
  EXPECT_FALSE(fs::exists("fresh"));
  fs::create_directory("empty");
  auto empty = RunDir::create("empty", "j").take();
  std::ofstream("empty/users.txt") << "x";
  EXPECT_TRUE(empty.discard());
  EXPECT_TRUE(fs::exists("empty/users.txt"));
  EXPECT_FALSE(fs::exists("empty/lock"));
  {
    auto run = RunDir::create("again", "j").take();
    ASSERT_TRUE(run.write_info(info(run)).ok());
  }
  auto again = RunDir::reopen("again").take();
  EXPECT_FALSE(again.discard());
  EXPECT_TRUE(fs::exists("again/run.json"));
}

}  // namespace
}  // namespace instep::coord
