#include "coord/job_files.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/hash.h"
#include "base/testing_folder.h"
#include "base/text.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

class JobFilesTest : public FolderTest {
 protected:
  JobFilesTest() {
    job_.model.kind = "torchscript";
    job_.model.file = write("m.pt", "module");
    job_.model.file_sha256 = sha256_hex("module");
    job_.model.init = write("w.safetensors", "weights");
  }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  Error refusal() const {
    auto kept = keep_job_files(job_, run_);
    return kept.ok() ? Error{ErrorKind::kInternal, "kept"} : kept.error();
  }

  const fs::path run_ = folder_ / "run";
  job::Job job_;
};

TEST_F(JobFilesTest, StayWhatTheyWereWhenTheRunBegan) {
  const auto first = keep_job_files(job_, run_);
  ASSERT_TRUE(first.ok()) << first.error().message;
  ASSERT_EQ(first->size(), 2U);
  EXPECT_EQ((*first)[0].key, "model.file");
  EXPECT_EQ((*first)[0].bytes, 6U);
  EXPECT_EQ((*first)[1].sha256, sha256_hex("weights"));
  EXPECT_TRUE(check_job_files(job_, *first).ok());
  write("m.pt", "another");
  fs::remove(job_.model.init);
  const auto again = keep_job_files(job_, run_);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ((*again)[1].sha256, (*first)[1].sha256);
  const auto found = find_job_files(job_, run_);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, local_files(run_, *first));
  EXPECT_EQ(read_file(found->at("model.file"), 100).take(), "module");
  EXPECT_EQ(read_file(found->at("model.init"), 100).take(), "weights");
}

TEST_F(JobFilesTest, AJobWithoutAnyKeepsNone) {
  job_.model = {};
  EXPECT_TRUE(keep_job_files(job_, run_)->empty());
  EXPECT_TRUE(find_job_files(job_, run_)->empty());
  EXPECT_FALSE(fs::exists(run_));
}

TEST_F(JobFilesTest, WhatCannotTravelIsNamed) {
  job_.model.init = (folder_ / "none").string();
  EXPECT_EQ(refusal().kind, ErrorKind::kNotFound);
  EXPECT_EQ(refusal().message,
            cat("model.init: ", job_.model.init, " is not there, or no file that can be read"));
  job_.model.init = folder_.string();
  EXPECT_EQ(refusal().kind, ErrorKind::kNotFound);
  job_.model.init = write("empty", "");
  EXPECT_EQ(refusal().message, cat("model.init: ", job_.model.init, " is empty"));
  job_.model.init = write("large", "");
  fs::resize_file(job_.model.init, kMaxJobFileBytes / 4 * 5);  // sparse
  EXPECT_EQ(refusal().kind, ErrorKind::kInvalid);
  for (const char* part : {"model.init: ", "/large has 20 GiB", "at most 16 GiB", "instep run"}) {
    EXPECT_NE(refusal().message.find(part), std::string::npos) << refusal().message;
  }
}

TEST_F(JobFilesTest, AModuleIsTheOneThatTheJobWasCheckedWith) {
  write("m.pt", "other");
  EXPECT_EQ(refusal().kind, ErrorKind::kMismatch);
  EXPECT_NE(refusal().message.find(sha256_hex("other")), std::string::npos);
}

TEST_F(JobFilesTest, ADamagedOneIsFound) {
  const auto files = keep_job_files(job_, run_).take();
  std::ofstream(kept_file(run_, files[1])) << "weightz";
  EXPECT_EQ(refusal().kind, ErrorKind::kCorrupt);
  EXPECT_EQ(find_job_files(job_, run_).error().kind, ErrorKind::kCorrupt);
  EXPECT_NE(refusal().message.find("put that one back"), std::string::npos);
}

TEST_F(JobFilesTest, AHostTakesNoOthersThanItsJobNames) {
  const auto files = keep_job_files(job_, run_).take();
  const auto refused = [&](auto&& change) {
    auto changed = files;
    change(changed);
    return !check_job_files(job_, changed).ok();
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& it) { it.pop_back(); }));
  EXPECT_TRUE(refused([](auto& it) { it.push_back(it.back()); }));
  EXPECT_TRUE(refused([](auto& it) { std::swap(it[0], it[1]); }));
  EXPECT_TRUE(refused([](auto& it) { it[1].key = "../model.init"; }));
  EXPECT_TRUE(refused([](auto& it) { it[1].bytes = 0; }));
  EXPECT_TRUE(refused([](auto& it) { it[1].bytes = kMaxJobFileBytes + 1; }));
  EXPECT_TRUE(refused([](auto& it) { it[1].sha256 = "../../x"; }));
  EXPECT_TRUE(refused([](auto& it) { it[1].sha256.back() = '/'; }));
  EXPECT_TRUE(refused([](auto& it) { it[0].sha256 = it[1].sha256; }));
}

}  // namespace
}  // namespace instep::coord
