// A process is really killed, or its disk really full, at each write of a checkpoint; what remains
// must be the previous checkpoint or the new one, whole.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>

#include "base/testing_folder.h"
#include "base/text.h"
#include "store/checkpoint.h"
#include "store/test_checkpoint.h"

namespace instep::store {
namespace {

namespace fs = std::filesystem;

constexpr int kMostPassages = 200;  // far above what one save has
constexpr int kNoSpaceCode = kErrorCode + static_cast<int>(ErrorKind::kNoSpace);

class CrashTest : public ::testing::Test {
 protected:
  // Two checkpoints and what a former crash left, copied for each case.
  static void SetUpTestSuite() {
    template_ = new TestFolder;
    ASSERT_TRUE(save_test_checkpoint(template_->path(), 0).ok());
    ASSERT_TRUE(save_test_checkpoint(template_->path(), 1).ok());
    const fs::path half = checkpoint_folder(template_->path(), 5);
    ASSERT_TRUE(CheckpointFile::open(half, kTestFiles[0], 100).ok());
  }
  static void TearDownTestSuite() {
    delete template_;
    template_ = nullptr;
  }

  static Ended save_in(const fs::path& run, const std::string& failpoints) {
    return run_selves(
        {{{"INSTEP_STORE_TEST", "save " + run.string()}, {"INSTEP_FAILPOINTS", failpoints}}})[0];
  }

  // Saves round 2 with `failpoints`; returns the round then found, checked to be whole. Then saves
  // undisturbed, as a resumed run would.
  static std::uint64_t found_after(const std::string& failpoints, Ended& ended,
                                   std::string* message = nullptr) {
    const TestFolder folder;
    const fs::path& run = folder.path();
    fs::copy(template_->path(), run, fs::copy_options::recursive);
    ended = save_in(run, failpoints);
    const Result<Found> found = newest_checkpoint(run);
    if (!found.ok()) {
      ADD_FAILURE() << failpoints << ": " << found.error().message;
      return 0;
    }
    const std::uint64_t round = found->manifest.round;
    EXPECT_TRUE(round == 1 || round == 2) << failpoints;
    EXPECT_EQ(check_test_checkpoint(*found, round), "") << failpoints;
    if (message != nullptr) std::getline(std::ifstream(run / "error.txt"), *message);

    EXPECT_EQ(save_in(run, "").code, 0) << failpoints;
    const Result<Found> again = newest_checkpoint(run);
    EXPECT_TRUE(again.ok() && check_test_checkpoint(*again, 2).empty() && again->warnings.empty())
        << failpoints;
    EXPECT_FALSE(fs::exists(checkpoint_folder(run, 5))) << failpoints;
    EXPECT_FALSE(fs::exists(checkpoint_folder(run, 1))) << failpoints;
    return round;
  }

  // Does `action` at each passage of `point` in turn until a save passes it less often; returns how
  // many passages a save has.
  static int at_each(const std::string& point, const std::string& action, int code) {
    for (int k = 1; k < kMostPassages; ++k) {
      const std::string failpoints = cat(point, "=", action, "@", k);
      Ended ended;
      const std::uint64_t round = found_after(failpoints, ended);
      if (!ended.killed && ended.code == 0) {
        EXPECT_EQ(round, 2u) << failpoints;
        return k - 1;
      }
      if (code == 0) {
        EXPECT_TRUE(ended.killed) << failpoints;
      } else {
        EXPECT_EQ(ended.code, code) << failpoints;
      }
    }
    ADD_FAILURE() << point << " is passed for ever";
    return 0;
  }

  static inline TestFolder* template_ = nullptr;
};

TEST_F(CrashTest, KilledAtEachWrite) {
  // Two headers, two times four tensors, the manifest.
  EXPECT_EQ(at_each("file.write", "kill", 0), 11);
}

TEST_F(CrashTest, KilledAtEachSync) {
  // Each file by its writer and at the commit, three folders, the manifest and its folder; and the
  // folders of the two checkpoints that are pruned.
  EXPECT_EQ(at_each("file.sync", "kill", 0), 11);
}

TEST_F(CrashTest, KilledAtAllocationRenameAndRemoval) {
  EXPECT_EQ(at_each("file.allocate", "kill", 0), 2);
  EXPECT_EQ(at_each("file.rename", "kill", 0), 1);
  // What the former crash left, then the two older checkpoints.
  EXPECT_EQ(at_each("checkpoint.remove", "kill", 0), 3);
}

TEST_F(CrashTest, KilledOnEitherSideOfTheManifest) {
  Ended ended;
  EXPECT_EQ(found_after("checkpoint.before_manifest=kill", ended), 1u);
  EXPECT_TRUE(ended.killed);
  EXPECT_EQ(found_after("file.rename=kill", ended), 1u);
  EXPECT_TRUE(ended.killed);
  EXPECT_EQ(found_after("checkpoint.after_manifest=kill", ended), 2u);
  EXPECT_TRUE(ended.killed);
}

// No write or sync whose failure goes unseen.
TEST_F(CrashTest, AnErrorOfEachWriteAndSyncIsReported) {
  const int internal = kErrorCode + static_cast<int>(ErrorKind::kInternal);
  EXPECT_EQ(at_each("file.write", "eio", internal), 11);
  EXPECT_EQ(at_each("file.sync", "eio", internal), 11);
}

TEST_F(CrashTest, FullDiskAtEachWrite) {
  EXPECT_EQ(at_each("file.allocate", "enospc", kNoSpaceCode), 2);
  EXPECT_EQ(at_each("file.write", "enospc", kNoSpaceCode), 11);
  EXPECT_EQ(at_each("file.sync", "enospc", kNoSpaceCode), 11);
}

TEST_F(CrashTest, FullDiskSaysWhatIsNeeded) {
  for (const std::string point : {"file.allocate", "file.write", "file.sync"}) {
    Ended ended;
    std::string message;
    EXPECT_EQ(found_after(point + "=enospc@1", ended, &message), 1u);
    EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
    EXPECT_NE(message.find("this file needs "), std::string::npos) << message;
    EXPECT_NE(message.find(" are free there"), std::string::npos) << message;
  }
}

// Some file systems keep what a failed allocation got; the run's logs need it.
TEST_F(CrashTest, AFailedAllocationTakesNoSpace) {
  const TestFolder run;
  EXPECT_EQ(save_in(run.path(), "file.allocate=enospc@1").code, kNoSpaceCode);
  EXPECT_EQ(fs::file_size(checkpoint_folder(run.path(), 2) / kTestFiles[0]), 0u);
}

TEST_F(CrashTest, SeveralProcessesWriteOneCheckpoint) {
  const TestFolder run;
  const fs::path folder = checkpoint_folder(run.path(), 2);
  std::vector<std::map<std::string, std::string>> writers;
  for (int i = 0; i < 3; ++i) {
    writers.push_back({{"INSTEP_STORE_TEST", cat("part ", folder.string(), " ", i, " 3")}});
  }
  for (const Ended& ended : run_selves(writers)) EXPECT_EQ(ended.code, 0);
  ASSERT_TRUE(commit(folder, test_manifest(2), kTestFiles).ok());
  const Result<Found> found = newest_checkpoint(run.path());
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(check_test_checkpoint(*found, 2), "");
}

TEST_F(CrashTest, AFileSizeLimitIsNoSpace) {
  const TestFolder run;
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const fs::path folder = checkpoint_folder(run.path(), 1);
  const Result<CheckpointFile> limited = CheckpointFile::open(folder, "m", 4 << 20);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(limited.ok());
  EXPECT_EQ(limited.error().kind, ErrorKind::kNoSpace);
  EXPECT_NE(limited.error().message.find("needs 4 MiB"), std::string::npos);
  EXPECT_EQ(CheckpointFile::open(folder, "m", ~0ull).error().kind, ErrorKind::kNoSpace);
}

TEST_F(CrashTest, AReallyFullDisk) {
  const TestFolder mount_point;
  const fs::path& run = mount_point.path();
  // A mount name space of this process's own: nothing stays mounted when it ends, however it does.
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", run.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "mounting a small tmpfs takes privileges that are not there";
  }
  ASSERT_TRUE(save_test_checkpoint(run, 1).ok());
  const auto free_blocks = [&run] {
    struct statvfs disk {};
    ::statvfs(run.c_str(), &disk);
    return disk.f_bavail;
  };
  const fs::path next = checkpoint_folder(run, 2);
  fs::create_directories(next);
  const Result<CheckpointFile> big = CheckpointFile::open(next, "model.safetensors", 4 << 20);
  ASSERT_FALSE(big.ok());
  EXPECT_EQ(big.error().kind, ErrorKind::kNoSpace);
  EXPECT_NE(big.error().message.find("needs 4 MiB"), std::string::npos) << big.error().message;
  EXPECT_GT(free_blocks(), 100u);  // nothing stays taken

  // Full only when the manifest is written.
  const SafetensorsLayout layout = test_layout();
  for (const std::string& name : kTestFiles) {
    ASSERT_TRUE(CheckpointFile::open(next, name, layout.file_bytes()).ok());
  }
  {
    std::ofstream filler(run / "filler");
    const std::string page(4096, 'x');
    while (filler.write(page.data(), std::streamsize(page.size())).flush()) continue;
  }
  EXPECT_EQ(free_blocks(), 0u);
  const Status full = commit(next, test_manifest(2), kTestFiles);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().kind, ErrorKind::kNoSpace) << full.error().message;
  const Result<Found> found = newest_checkpoint(run);
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(check_test_checkpoint(*found, 1), "");
  fs::remove(run / "filler");
  ASSERT_TRUE(save_test_checkpoint(run, 2).ok());
  ::umount2(run.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace instep::store
