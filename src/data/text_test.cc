#include "data/readers.h"
#include "data/sampler.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

class Text : public ::testing::Test {
 protected:
  Text() {
    spec_.format = job::DataFormat::kText;
    spec_.context = 4;
  }
  Result<Dataset> get(const std::string& content) {
    spec_.train_samples = folder_.write("text", content);
    return load(spec_, job::Loss::kCrossEntropy, 1);
  }
  TestFolder folder_;
  job::Data spec_;
};

std::string tokens_of(const std::vector<std::int64_t>& tokens) {
  return {tokens.begin(), tokens.end()};
}

TEST_F(Text, SamplesAndTheirNextBytes) {
  // The ninth byte is the last target; with a tenth nothing changes, with thirteen comes a sample.
  for (const auto& [text, samples] : std::vector<std::pair<std::string, std::uint64_t>>{
           {"abcde", 1}, {"abcdefgh", 1}, {"abcdefghi", 2}, {"abcdefghijkl", 2}}) {
    const auto set = get(text);
    ASSERT_TRUE(set.ok()) << message(set);
    EXPECT_EQ(set->train.size, samples);
    EXPECT_EQ(set->train.kind, Kind::kTokens);
    EXPECT_EQ(set->train.shape, std::vector<std::int64_t>{4});
    EXPECT_EQ(set->train.class_count, 256);
    EXPECT_EQ(set->train.classes, nullptr);
  }
  const auto set = get("abcdefghi");
  std::vector<std::int64_t> x(8), y(8);
  gather_tokens(set->train, std::vector<std::uint64_t>{1, 0}, x.data(), y.data());
  EXPECT_EQ(tokens_of(x), "efghabcd");
  EXPECT_EQ(tokens_of(y), "fghibcde");
}

TEST_F(Text, AnyByteIsAToken) {
  const auto set = get(counting_bytes(257));
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->train.size, 64u);
  std::vector<std::int64_t> x(4), y(4);
  gather_tokens(set->train, std::vector<std::uint64_t>{63}, x.data(), y.data());
  EXPECT_EQ(x, (std::vector<std::int64_t>{252, 253, 254, 255}));
  EXPECT_EQ(y, (std::vector<std::int64_t>{253, 254, 255, 0}));
}

TEST_F(Text, ShorterThanAContext) {
  EXPECT_ERROR(get("abcd"), "text has 4 bytes", "data.context = 4 bytes needs 5");
  EXPECT_ERROR(get("a"), "has 1 byte;", "needs 5");
  EXPECT_ERROR(get(""), "empty");
  spec_.context = 0;
  EXPECT_ERROR(get("abcdefgh"), "data.context is 0");
  spec_.context = INT64_MAX;
  EXPECT_ERROR(get("abcdefgh"), "has 8 bytes");
  spec_.context = 2;
  EXPECT_ERROR(load(spec_, job::Loss::kMse, 1), "cross-entropy");
}

TEST_F(Text, LimitsAndATestText) {
  spec_.limit = 2;
  spec_.test_samples = folder_.write("test", "0123456789");
  const auto set = get(std::string(100, 'a'));
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->train.size, 2u);
  EXPECT_EQ(set->test.size, 2u);
  spec_.test_samples = folder_.write("test", "012");
  EXPECT_ERROR(get(std::string(100, 'a')), "test has 3 bytes");
}

TEST_F(Text, TheImageHoldsTheLastTarget) {
  spec_.limit = 2;
  spec_.test_samples = folder_.write("test", "vwxyz");
  const auto set = get("abcdefghijklmnop");
  const auto image = make_image(*set);
  ASSERT_TRUE(image.ok()) << message(image);
  const auto back = map_image(*image);
  ASSERT_TRUE(back.ok()) << message(back);
  EXPECT_EQ(back->train.kind, Kind::kTokens);
  EXPECT_EQ(back->train.class_count, 256);
  std::vector<std::int64_t> x(4), y(4);
  gather_tokens(back->train, std::vector<std::uint64_t>{1}, x.data(), y.data());
  EXPECT_EQ(tokens_of(y), "fghi");
  gather_tokens(back->test, std::vector<std::uint64_t>{0}, x.data(), y.data());
  EXPECT_EQ(tokens_of(y), "wxyz");
}

TEST_F(Text, SplitsAndPartitionsOfTokens) {
  const auto set = get(std::string(1001, 'a'));
  const Parts parts = split(set->train.size, {}, {0.2, 0.1, false}, 3);
  EXPECT_EQ(parts.train.size() + parts.validation.size() + parts.test.size(), 250u);
  const Sampler sampler(parts.train, {}, job::PartitionKind::kRandom, 4, 16, 1);
  EXPECT_EQ(sampler.size(), parts.train.size());
}

TEST_F(Text, InputsNeedNoTarget) {
  spec_.context = 4;
  const auto inputs = [this](const std::string& text) {
    return load_inputs(folder_.write("prompt", text), spec_, 0).take();
  };
  EXPECT_EQ(inputs("abcdefgh").size, 2u);
  EXPECT_EQ(inputs("abcdefg").size, 1u);
  const Table prompt = inputs("abc");
  EXPECT_EQ(prompt.size, 1u);
  EXPECT_EQ(prompt.shape, std::vector<std::int64_t>{3});
  std::vector<std::int64_t> x(3);
  gather_tokens(prompt, std::vector<std::uint64_t>{0}, x.data(), nullptr);
  EXPECT_EQ(tokens_of(x), "abc");
}

}  // namespace
}  // namespace instep::data
