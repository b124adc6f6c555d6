#include "data/readers.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

class Csv : public ::testing::Test {
 protected:
  Result<Table> read(const std::string& content, job::Loss loss = job::Loss::kMse) {
    return load_csv(folder_.write("a.csv", content), spec_, loss);
  }
  static std::vector<float> values(const Table& table) {
    const auto* start = reinterpret_cast<const float*>(table.values);
    return {start, start + table.size * table.elements()};
  }
  static std::vector<float> targets(const Table& table) {
    return {table.targets, table.targets + table.size};
  }
  TestFolder folder_;
  job::Data spec_;
};

TEST_F(Csv, HeaderAndLastColumn) {
  spec_.scale = 2;
  spec_.shift = -1;
  const auto table = read("a,b,y\n1,2,3\n-4.5,+5e2, 6 \n");
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(values(*table), (std::vector<float>{1, 2, -4.5f, 500}));
  EXPECT_EQ(targets(*table), (std::vector<float>{3, 6}));
  EXPECT_EQ(table->shape, std::vector<std::int64_t>{2});
  EXPECT_EQ(table->target_width, 1);
  EXPECT_EQ(table->scale, 2.0f);
  EXPECT_EQ(table->shift, -1.0f);
}

TEST_F(Csv, QuotesCrlfByteOrderMarkAndBlankLines) {
  spec_.target_column = "the \"y\", quoted\nname";
  const auto table = read(
      "\xef\xbb\xbf\"the \"\"y\"\", quoted\nname\",b\r\n\r\n\"1\",\"2.5\"\r\n\n3,4\r\n\r\n5,6");
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(targets(*table), (std::vector<float>{1, 3, 5}));
  EXPECT_EQ(values(*table), (std::vector<float>{2.5f, 4, 6}));
}

TEST_F(Csv, GzipToo) {
  const auto table = read(gzip("a,y\n1,2\n"));
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(targets(*table), std::vector<float>{2});
}

TEST_F(Csv, TargetByNameAndNumber) {
  for (const char* column : {"y", "1"}) {
    spec_.target_column = column;
    const auto table = read("y,a\n7,8\n");
    ASSERT_TRUE(table.ok()) << message(table);
    EXPECT_EQ(targets(*table), std::vector<float>{7});
  }
  spec_.header = false;
  spec_.target_column = "2";
  const auto table = read("1,2,3\n4,5,6\n");
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(targets(*table), (std::vector<float>{2, 5}));
  EXPECT_EQ(values(*table), (std::vector<float>{1, 3, 4, 6}));
}

TEST_F(Csv, UnknownTarget) {
  spec_.target_column = "specis";
  EXPECT_ERROR(read("length,species\n1,2\n"), "a.csv:1", "'specis'", "did you mean 'species'?");
  for (const char* column : {"0", "3", "99999999999999999999"}) {
    spec_.target_column = column;
    EXPECT_ERROR(read("length,species\n1,2\n"), "a.csv:1", "no target column");
  }
  spec_.header = false;
  spec_.target_column = "y";
  EXPECT_ERROR(read("1,2\n"), "a number from 1 to 2");
}

TEST_F(Csv, RaggedRowsAreNamedByLine) {
  EXPECT_ERROR(read("a,b,y\n1,2,3\n\n1,2\n"), "a.csv:4: 2 columns, where line 1 has 3");
  EXPECT_ERROR(read("a,b,y\n1,2,3,4\n"), "a.csv:2: 4 columns");
  EXPECT_ERROR(read("a,y\n1,2,\n"), "a.csv:2: 3 columns");
  EXPECT_ERROR(read("a,y\n1,2,"), "a.csv:2: 3 columns");
  EXPECT_ERROR(read("a;y\n1;2\n"), "a.csv:1", "one column", "commas");
}

TEST_F(Csv, TextWhereANumberIsDue) {
  EXPECT_ERROR(read("a,b,y\n1,2,3\n1,abc,3\n"), "a.csv:3: column 2 holds 'abc'", "finite number");
  for (const char* field : {"", "nan", "inf", "1e999", "1.5x", "0x10", "+-1", "1 2", "\"\""}) {
    EXPECT_ERROR(read(std::string("a,y\n") + field + ",1\n"), "a.csv:2: column 1");
    EXPECT_ERROR(read(std::string("a,y\n1,") + field + ",\n"), "a.csv:2");
  }
  EXPECT_ERROR(read("a,y\n1,two\n"), "a.csv:2: column 2 holds 'two'");
  spec_.header = false;
  EXPECT_ERROR(read("a,y\n1,2\n"), "a.csv:1: column 1", "data.header = true");
}

TEST_F(Csv, LinesAreCountedWithinQuotes) {
  EXPECT_ERROR(read("\"a\n\nb\",y\n1,2\nx,1\n"), "a.csv:5: column 1 holds 'x'");
}

TEST_F(Csv, TooSmallForAFloatIsZero) {
  const auto table = read("a,y\n1e-60,1\n");
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(values(*table), std::vector<float>{0});
}

TEST_F(Csv, ClassLabels) {
  const auto loss = job::Loss::kCrossEntropy;
  const auto table = read("a,y\n1,0\n2,2.0\n3,1\n", loss);
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(table->class_count, 3);
  EXPECT_EQ(table->classes[1], 2);
  EXPECT_EQ(table->targets, nullptr);
  for (const char* label : {"1.5", "setosa", "-1", "", ".0", "99999999999"}) {
    EXPECT_ERROR(read(std::string("a,y\n1,0\n2,") + label + "\n", loss), "a.csv:3: column 2 holds",
                 "class label");
  }
  spec_.classes = 3;
  EXPECT_ERROR(read("a,y\n1,3\n", loss), "a.csv:2: column 2 holds '3'", "from 0 to 2");
}

TEST_F(Csv, BceTargetsAreChances) {
  EXPECT_TRUE(read("a,y\n1,0\n1,1\n1,0.5\n", job::Loss::kBce).ok());
  EXPECT_ERROR(read("a,y\n1,2\n", job::Loss::kBce), "a.csv:2: column 2 holds '2'", "bce");
}

TEST_F(Csv, BrokenQuotes) {
  EXPECT_ERROR(read("a,y\n1,\"2\n"), "a.csv:2", "not closed");
  EXPECT_ERROR(read("a,y\n\"1\"x,2\n"), "a.csv:2", "closing quote", "'x'");
}

TEST_F(Csv, EmptyFiles) {
  EXPECT_ERROR(read(""), "empty");
  EXPECT_ERROR(read("\n\r\n"), "no rows");
  EXPECT_ERROR(read("a,y\n"), "no rows after the header");
}

// The memory taken is bounded by the file: rows of the least length fill it exactly.
TEST_F(Csv, RowsOfTheLeastLength) {
  spec_.header = false;
  for (const bool newline : {true, false}) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "1,2,3\n";
    if (!newline) text.pop_back();
    const auto table = read(text);
    ASSERT_TRUE(table.ok()) << message(table);
    EXPECT_EQ(table->size, 1000u);
    EXPECT_ERROR(read(text + (newline ? "" : "\n") + ",,\n"), "a.csv:1001: column 1 holds ''");
  }
}

}  // namespace
}  // namespace instep::data
