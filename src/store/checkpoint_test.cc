#include "store/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "base/hash.h"
#include "base/testing_folder.h"
#include "base/text.h"
#include "store/test_checkpoint.h"

namespace instep::store {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
  Result<std::string> text = read_file(path, 1 << 20);
  return text.ok() ? text.take() : "";
}

void put(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class CheckpointTest : public ::testing::Test {
 protected:
  void save(std::uint64_t round, double loss = 0) {
    const Status status = save_test_checkpoint(run(), round, loss);
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  const fs::path& run() const { return folder_.path(); }
  fs::path at(std::uint64_t round) const { return checkpoint_folder(run(), round); }

  // The newest is whole, of this round, and this many were passed over.
  void expect_newest(std::uint64_t round, std::size_t warnings, const std::string& why = "") {
    const Result<Found> found = newest_checkpoint(run());
    ASSERT_TRUE(found.ok()) << found.error().message << " " << why;
    EXPECT_EQ(check_test_checkpoint(*found, round), "") << why;
    ASSERT_EQ(found->warnings.size(), warnings) << why;
    for (const std::string& warning : found->warnings) {
      EXPECT_TRUE(warning.ends_with("; using " + at(round).filename().string())) << warning;
    }
  }
  TestFolder folder_;
};

TEST_F(CheckpointTest, RoundTrip) {
  save(3, 0.25);
  const Result<Found> found = open_checkpoint(at(3));
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(check_test_checkpoint(*found, 3), "");
  const Manifest wanted = test_manifest(3, 0.25);
  EXPECT_EQ(found->manifest.format, kCheckpointFormat);
  EXPECT_EQ(found->manifest.data_epoch, wanted.data_epoch);
  EXPECT_EQ(found->manifest.job_json, wanted.job_json);
  EXPECT_EQ(found->manifest.job_hash, wanted.job_hash);
  EXPECT_EQ(found->manifest.model, wanted.model);
  EXPECT_EQ(found->manifest.parameters_sha256, wanted.parameters_sha256);
  EXPECT_EQ(found->manifest.state_sha256, wanted.state_sha256);
  EXPECT_EQ(found->manifest.metrics, wanted.metrics);
  ASSERT_EQ(found->manifest.files.size(), 2u);
  EXPECT_EQ(found->manifest.files[1].name, "state.safetensors");
  EXPECT_EQ(found->manifest.files[1].bytes, test_layout().file_bytes());
  EXPECT_EQ(found->manifest.files[1].sha256, sha256_hex(content_of(at(3) / "state.safetensors")));
  EXPECT_FALSE(fs::exists(at(3) / "manifest.json.tmp"));
}

TEST_F(CheckpointTest, OpensARunsNewest) {
  save(9);
  save(10);
  save(1'000'000);
  const Result<Found> found = open_checkpoint(run());
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->folder, at(1'000'000));
}

TEST_F(CheckpointTest, RoundsPastTenDigitsStillSortAsNumbers) {
  save(9'999'999'999);
  save(10'000'000'000);
  EXPECT_EQ(at(7).filename(), "round-0000000007");
  const Result<Found> found = open_checkpoint(run());
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->manifest.round, 10'000'000'000u);
}

TEST_F(CheckpointTest, NothingToOpen) {
  EXPECT_EQ(newest_checkpoint(run()).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(newest_checkpoint(run() / "absent").error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(open_checkpoint(run()).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(open_checkpoint(run() / "absent").error().kind, ErrorKind::kNotFound);
  fs::create_directories(at(4));
  EXPECT_EQ(newest_checkpoint(run()).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(open_checkpoint(at(4)).error().kind, ErrorKind::kNotFound);
  save(5);
  EXPECT_EQ(open_checkpoint(at(5) / "model.safetensors").error().kind, ErrorKind::kInvalid);
}

TEST_F(CheckpointTest, ManifestKeepsNumbersThatJsonHasNoWordFor) {
  Manifest manifest = test_manifest(~0ull);
  manifest.metrics = {{"nan", std::nan("")}, {"inf", HUGE_VAL}, {"down", -HUGE_VAL}, {"x", 0.1}};
  const Result<Manifest> back = manifest_from_json(to_json(manifest), "m");
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->round, ~0ull);
  EXPECT_TRUE(std::isnan(back->metrics.at("nan")));
  EXPECT_EQ(back->metrics.at("inf"), HUGE_VAL);
  EXPECT_EQ(back->metrics.at("down"), -HUGE_VAL);
  EXPECT_EQ(back->metrics.at("x"), 0.1);
}

// With a right checksum, as only a program could make it.
std::string sealed(const std::string& fields) {
  const std::string text = "{\n" + fields;
  return text + ",\n  \"checksum\": \"" + sha256_hex(text) + "\"\n}\n";
}

TEST_F(CheckpointTest, RefusesManifestsThatOnlyLookRight) {
  const std::string head =
      R"("format":1,"round":1,"data_epoch":1,"model":"","job_hash":"","job":"",)"
      R"("parameters_sha256":"","state_sha256":"","metrics":{},"files":)";
  const std::string file = R"({"name":"a","bytes":1,"sha256":""})";
  EXPECT_TRUE(manifest_from_json(sealed(head + "[" + file + "]"), "m").ok());
  for (const std::string& bad :
       {head + "[" + file + "," + file + "]", head + R"([{"name":"../a","bytes":1,"sha256":""}])",
        head + R"([{"name":"","bytes":1,"sha256":""}])",
        head + R"([{"name":"manifest.json","bytes":1,"sha256":""}])",
        head + R"([{"name":"a","bytes":-1,"sha256":""}])", head + "[1]",
        std::string(R"("format":1,"round":1)"), std::string(R"("format":"1")"),
        head + std::string(100'000, '[')}) {
    const Result<Manifest> parsed = manifest_from_json(sealed(bad), "m");
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().kind, ErrorKind::kCorrupt) << parsed.error().message;
  }
}

TEST_F(CheckpointTest, AnotherFormatVersionIsAMismatchThatNamesBoth) {
  save(1);
  Manifest manifest = test_manifest(2);
  manifest.format = 7;
  fs::create_directories(at(2));
  put(at(2) / "manifest.json", to_json(manifest));
  const Result<Found> found = open_checkpoint(at(2));
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().kind, ErrorKind::kMismatch);
  EXPECT_NE(found.error().message.find("format 7"), std::string::npos) << found.error().message;
  EXPECT_NE(found.error().message.find("format 1"), std::string::npos) << found.error().message;
  expect_newest(1, 1);
  EXPECT_EQ(begin_checkpoint(run(), 2).error().kind, ErrorKind::kMismatch);
  EXPECT_TRUE(fs::exists(at(2)));
  fs::remove_all(at(1));
  EXPECT_EQ(newest_checkpoint(run()).error().kind, ErrorKind::kMismatch);
}

TEST_F(CheckpointTest, AnyFlippedBitOfAnyFileIsPassedOver) {
  save(1);
  save(2);
  for (const std::string name : {"manifest.json", "model.safetensors", "state.safetensors"}) {
    const std::string whole = content_of(at(2) / name);
    ASSERT_FALSE(whole.empty());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string broken = whole;
      broken[i] = static_cast<char>(broken[i] ^ (1 << (i % 8)));
      put(at(2) / name, broken);
      expect_newest(1, 1, cat(name, " byte ", i));
      EXPECT_FALSE(open_checkpoint(at(2)).ok());
    }
    put(at(2) / name, whole);
    expect_newest(2, 0);
  }
}

TEST_F(CheckpointTest, AFileCutAtAnyLengthOrGrownIsPassedOver) {
  save(1);
  save(2);
  for (const std::string name : {"manifest.json", "state.safetensors"}) {
    const std::string whole = content_of(at(2) / name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      put(at(2) / name, whole.substr(0, length));
      expect_newest(1, 1, cat(name, " cut at ", length));
    }
    put(at(2) / name, whole + " ");
    expect_newest(1, 1);
    put(at(2) / name, whole);
  }
}

TEST_F(CheckpointTest, MissingAndStrangeFilesArePassedOver) {
  save(1);
  save(2);
  const fs::path file = at(2) / "state.safetensors";
  fs::remove(file);
  expect_newest(1, 1);
  EXPECT_NE(open_checkpoint(at(2)).error().message.find("is missing"), std::string::npos);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  expect_newest(1, 1);
  fs::remove(file);
  fs::create_directory(file);
  expect_newest(1, 1);
  fs::remove(at(2) / "manifest.json");
  fs::create_directory(at(2) / "manifest.json");
  expect_newest(1, 1);
  fs::remove(at(2) / "manifest.json");
  ASSERT_EQ(::mkfifo((at(2) / "manifest.json").c_str(), 0600), 0);
  expect_newest(1, 1);
}

TEST_F(CheckpointTest, UnfinishedAndForeignFoldersArePassedOver) {
  save(1);
  fs::create_directories(at(2));
  fs::create_directories(run() / "checkpoints" / "round-12");
  fs::create_directories(run() / "checkpoints" / "round-00000000xx");
  put(run() / "checkpoints" / "round-0000000009", "a file");
  expect_newest(1, 1);
}

// Somebody who renames a folder must not make an older checkpoint the newest.
TEST_F(CheckpointTest, AFolderUnderAnotherRoundsNameIsPassedOver) {
  save(1);
  save(2);
  fs::rename(at(1), at(3));
  expect_newest(2, 1);
  EXPECT_TRUE(open_checkpoint(at(3)).ok());
}

TEST_F(CheckpointTest, NothingWholeIsNoFreshRun) {
  save(1);
  save(2);
  for (const std::uint64_t round : {1, 2}) put(at(round) / "model.safetensors", "x");
  const Result<Found> found = newest_checkpoint(run());
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().kind, ErrorKind::kCorrupt);
  EXPECT_NE(found.error().message.find("round-0000000001"), std::string::npos);
  EXPECT_NE(found.error().message.find("round-0000000002"), std::string::npos);
}

TEST_F(CheckpointTest, BeginCleansAndNeverTouchesWholeOnes) {
  save(1);
  save(2);
  fs::create_directories(at(5));
  put(at(5) / "model.safetensors", "half");
  Result<bool> needed = begin_checkpoint(run(), 2);
  ASSERT_TRUE(needed.ok());
  EXPECT_FALSE(*needed);
  EXPECT_FALSE(fs::exists(at(5)));
  expect_newest(2, 0);
  EXPECT_EQ(CheckpointFile::open(at(2), "model.safetensors", 8).error().kind, ErrorKind::kTaken);
  EXPECT_EQ(commit(at(2), test_manifest(2), kTestFiles).error().kind, ErrorKind::kTaken);
  expect_newest(2, 0);

  put(at(2) / "model.safetensors", "broken");
  needed = begin_checkpoint(run(), 2);
  ASSERT_TRUE(needed.ok());
  EXPECT_TRUE(*needed);
  EXPECT_FALSE(fs::exists(at(2)));
  expect_newest(1, 0);
}

TEST_F(CheckpointTest, WhatIsUnfinishedGivesItsRoomBack) {
  save(1);
  save(2);
  fs::remove(at(1) / "manifest.json");
  fs::create_directories(run() / "checkpoints" / "mine");
  ASSERT_TRUE(remove_unfinished(run()).ok());
  EXPECT_FALSE(fs::exists(at(1)));
  EXPECT_TRUE(fs::exists(run() / "checkpoints" / "mine"));
  expect_newest(2, 0);
}

TEST_F(CheckpointTest, ALateWriterDoesNotKeepTheNextFromBeginning) {
  save(1);
  for (int i = 0; i < 500; ++i) {
    (void)CheckpointFile::open(at(2), "begun", 1);
    std::thread writer([&] {
      for (const char* name : {"a", "b", "c", "d"}) (void)CheckpointFile::open(at(2), name, 1);
    });
    const auto begun = begin_checkpoint(run(), 3);
    EXPECT_TRUE(begun.ok()) << begun.error().message;
    writer.join();
  }
  // What the last of them has written behind the last removal goes with the next one.
  ASSERT_TRUE(begin_checkpoint(run(), 3).ok());
  expect_newest(1, 0);
}

TEST_F(CheckpointTest, CommitNeedsItsFiles) {
  fs::create_directories(at(1));
  EXPECT_EQ(commit(at(1), test_manifest(1), kTestFiles).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(newest_checkpoint(run()).error().kind, ErrorKind::kNotFound);
}

class PruneTest : public CheckpointTest {
 protected:
  void expect_rounds(const std::vector<std::uint64_t>& wanted) {
    for (std::uint64_t round = 1; round <= 6; ++round) {
      const bool there = std::find(wanted.begin(), wanted.end(), round) != wanted.end();
      EXPECT_EQ(fs::exists(at(round)), there) << "round " << round;
    }
  }
  void save_five() {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const std::vector<double> losses = {0.5, 0.1, nan, 0.3, 0.4};
    for (std::size_t i = 0; i < losses.size(); ++i) save(i + 1, losses[i]);
  }
};

TEST_F(PruneTest, KeepsTheNewest) {
  save_five();
  ASSERT_TRUE(prune(run(), 2, 0, "loss", true).ok());
  expect_rounds({4, 5});
  ASSERT_TRUE(prune(run(), 0, 0, "loss", true).ok());
  expect_rounds({5});
}

TEST_F(PruneTest, KeepsTheBest) {
  save_five();
  ASSERT_TRUE(prune(run(), 1, 2, "loss", true).ok());
  expect_rounds({2, 4, 5});
}

TEST_F(PruneTest, KeepsTheBestOfAMetricThatShouldGrow) {
  save_five();
  ASSERT_TRUE(prune(run(), 1, 2, "loss", false).ok());
  expect_rounds({1, 5});
}

TEST_F(PruneTest, AnUnknownMetricHasNoBest) {
  save_five();
  ASSERT_TRUE(prune(run(), 1, 3, "accuracy", false).ok());
  expect_rounds({5});
}

TEST_F(PruneTest, LeavesDamagedOnesAndTheOneUnderWay) {
  save_five();
  put(at(5) / "model.safetensors", "short");
  fs::remove(at(2) / "manifest.json");
  fs::create_directories(at(6));
  ASSERT_TRUE(prune(run(), 1, 0, "loss", true).ok());
  expect_rounds({4, 5, 6});
}

TEST_F(PruneTest, ARunWithoutCheckpoints) { EXPECT_TRUE(prune(run(), 1, 0, "loss", true).ok()); }

}  // namespace
}  // namespace instep::store
