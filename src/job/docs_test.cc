// docs/job.md and the example jobs against the program's own table of keys.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/text.h"
#include "job/job.h"
#include "job/keys.h"

namespace instep::job {
namespace {

namespace fs = std::filesystem;

// The repository's root: the first folder upwards, from here or from this source, with docs/job.md.
fs::path root() {
  for (const fs::path& start : {fs::current_path(), fs::absolute(fs::path(__FILE__))}) {
    for (fs::path at = start.lexically_normal(); at != at.parent_path(); at = at.parent_path()) {
      if (fs::exists(at / "docs" / "job.md") && fs::exists(at / "src" / "job")) return at;
    }
  }
  return {};
}

std::string default_text(const Key& key) {
  Job job;
  job.optimizer.groups.emplace_back();
  const Value value = value_of(key.at(job, 0));
  switch (value.kind) {
    case Value::Kind::kNull:
      return "none";
    case Value::Kind::kBool:
      return value.truth ? "true" : "false";
    case Value::Kind::kInteger:
      return cat(value.integer);
    case Value::Kind::kNumber:
      return shortest(value.number);
    case Value::Kind::kText:
      return value.text.empty() ? "empty" : value.text;
    case Value::Kind::kList:
      return value.items.empty() ? "[]" : cat("[", value.items.front().text, "]");
    default:
      return "?";
  }
}

TEST(Docs, JobPageHasEveryKeyWithTypeDefaultRangeAndMeaning) {
  const Result<std::string> page = read_file(root() / "docs" / "job.md", 1 << 20);
  ASSERT_TRUE(page.ok()) << page.error().message;
  std::size_t rows = 0;
  for (std::size_t at = page->find("\n| `"); at != std::string::npos; ++rows) {
    at = page->find("\n| `", at + 1);
  }
  for (const Key& key : keys()) {
    const std::string row = cat("\n| `", key.name, "` | ", type_text(key), " | ", default_text(key),
                                " | ", range_text(key), " | ", key.meaning, " |\n");
    EXPECT_NE(page->find(row), std::string::npos) << "docs/job.md needs this line:" << row;
  }
  EXPECT_EQ(rows, keys().size()) << "docs/job.md has a row for a key that is none";
}

TEST(Examples, MnistIsTheReferenceJob) {
  const Result<Resolved> mnist = load(root() / "examples" / "mnist", {});
  ASSERT_TRUE(mnist.ok()) << mnist.error().message;
  const Job& job = mnist->job;
  EXPECT_EQ(job.batch, 512);
  EXPECT_EQ(job.shards, 8);
  EXPECT_EQ(job.epochs, 10);
  EXPECT_EQ(job.optimizer.kind, OptimizerKind::kAdam);
  EXPECT_EQ(job.model.layers, (std::vector<std::int64_t>{784, 64, 10}));
  EXPECT_EQ(job.data.scale, 1.0 / 255);
  EXPECT_EQ(fs::path(job.data.test_targets),
            root() / "examples" / "mnist" / "data" / "t10k-labels-idx1-ubyte.gz");
}

TEST(Examples, TextbookIsTenShardsOfAHundredSamples) {
  const Result<Resolved> textbook = load(root() / "examples" / "textbook" / "textbook.toml", {});
  ASSERT_TRUE(textbook.ok()) << textbook.error().message;
  EXPECT_EQ(textbook->job.shards, 10);
  EXPECT_EQ(textbook->job.data.limit, 1000);
  EXPECT_EQ(fs::path(textbook->job.data.train_samples),
            root() / "examples" / "mnist" / "data" / "train-images-idx3-ubyte.gz");
}

}  // namespace
}  // namespace instep::job
