#include "coord/output.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace instep::coord {
namespace {

std::vector<std::string> cut(const std::vector<std::string>& pieces) {
  std::vector<std::string> lines;
  LineCutter cutter;
  const auto sink = [&lines](std::string_view line) { lines.emplace_back(line); };
  for (const std::string& piece : pieces) cutter.add(piece, sink);
  cutter.finish(sink);
  return lines;
}

TEST(LineCutter, PiecesBecomeLines) {
  EXPECT_EQ(cut({"a\nb", "c\n\nd"}), (std::vector<std::string>{"a", "bc", "", "d"}));
  EXPECT_EQ(cut({"a\n"}), (std::vector<std::string>{"a"}));
  EXPECT_TRUE(cut({""}).empty());
  const auto parts = cut({std::string(200'000, 'x')});
  EXPECT_GT(parts.size(), 2U);
  std::size_t total = 0;
  for (const std::string& part : parts) total += part.size();
  EXPECT_EQ(total, 200'000U);
}

class TailTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "instep-tail-XXXXXX").string();
    const int fd = ::mkstemp(pattern.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    path_ = pattern;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  std::filesystem::path path_;
};

TEST_F(TailTest, TheLastLinesOnly) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += cat("line ", i, "\n");
  write(text);
  const std::string end = tail(path_, 0);
  EXPECT_EQ(end.find("    line 988\n"), 0U);
  EXPECT_NE(end.find("line 999"), std::string::npos);
  // What an earlier run wrote is not shown.
  EXPECT_EQ(tail(path_, text.size() - 9), "    line 999");
  EXPECT_EQ(tail(path_, text.size()), "");
  EXPECT_EQ(tail(path_, text.size() + 5), "");
  EXPECT_EQ(tail("/no/such/file", 0), "");
  write(std::string(100'000, 'x'));
  EXPECT_LE(tail(path_, 0).size(), 5000U);
}

TEST_F(TailTest, RecordsAreAppended) {
  for (int i = 0; i < 2; ++i) {
    auto records = Records::open(path_).take();
    records.add({{"i", i}});
    EXPECT_TRUE(records.flush());
  }
  EXPECT_EQ(*read_file(path_, 1000), "{\"i\":0}\n{\"i\":1}\n");
  EXPECT_FALSE(Records::open("/no/such/folder/file").ok());
  auto full = Records::open("/dev/full").take();
  full.add({{"i", 1}});
  EXPECT_FALSE(full.flush());
}

}  // namespace
}  // namespace instep::coord
