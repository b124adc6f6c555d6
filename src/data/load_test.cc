#include <algorithm>
#include <cmath>

#include "data/readers.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

class LoadIdx : public ::testing::Test {
 protected:
  LoadIdx() {
    spec_.format = job::DataFormat::kIdx;
    spec_.train_samples = folder_.write("train-x", idx_images(20, 2, 2));
    spec_.train_targets = folder_.write("train-y", idx_labels(20, 5));
    spec_.test_samples = folder_.write("test-x", idx_images(9, 2, 2));
    spec_.test_targets = folder_.write("test-y", idx_labels(9, 7));
  }
  Result<Dataset> get(job::Loss loss = job::Loss::kCrossEntropy) { return load(spec_, loss, 1); }
  TestFolder folder_;
  job::Data spec_;
};

TEST_F(LoadIdx, BothTablesHaveTheSameClassesAndTheJobsScale) {
  spec_.scale = 0.5;
  spec_.shift = 3;
  const auto dataset = get();
  ASSERT_TRUE(dataset.ok()) << message(dataset);
  EXPECT_EQ(dataset->train.class_count, 7);
  EXPECT_EQ(dataset->test.class_count, 7);
  EXPECT_EQ(dataset->train.scale, 0.5f);
  EXPECT_EQ(dataset->test.shift, 3.0f);
}

TEST_F(LoadIdx, LabelsOutOfRangeAreNamed) {
  spec_.classes = 7;
  EXPECT_TRUE(get().ok());
  spec_.classes = 6;
  EXPECT_ERROR(get(), "test-y: sample 6", "label 6", "0 to 5");
}

TEST_F(LoadIdx, LimitsKeepTheFirstSamples) {
  spec_.limit = 4;
  spec_.test_limit = 100;
  spec_.classes = 7;
  const auto dataset = get();
  ASSERT_TRUE(dataset.ok()) << message(dataset);
  EXPECT_EQ(dataset->train.size, 4u);
  EXPECT_EQ(dataset->test.size, 9u);
  EXPECT_EQ(dataset->train.classes[3], 3);
}

TEST_F(LoadIdx, LabelsBecomeTargetsOfMseAndBce) {
  const auto dataset = get(job::Loss::kMse);
  ASSERT_TRUE(dataset.ok()) << message(dataset);
  EXPECT_EQ(dataset->train.classes, nullptr);
  EXPECT_EQ(dataset->train.target_width, 1);
  EXPECT_EQ(dataset->train.targets[4], 4.0f);
  EXPECT_ERROR(get(job::Loss::kBce), "train-y: sample 2", "bce");
}

TEST_F(LoadIdx, FloatTargetsAreNoClasses) {
  spec_.train_targets = folder_.write("train-y", idx_header(0x0d, {20, 1}) + std::string(80, '\0'));
  EXPECT_ERROR(get(), "train-y", "cross-entropy");
  EXPECT_TRUE(get(job::Loss::kMse).ok());
}

TEST_F(LoadIdx, PartsMustBeAlike) {
  spec_.test_samples = folder_.write("test-x", idx_images(9, 4, 1));
  EXPECT_ERROR(get(), "test-x holds samples of 4 x 1", "2 x 2");
  spec_.test_samples = "";
  EXPECT_ERROR(get(), "a file of samples and one of targets");
  spec_.test_targets = "";
  const auto dataset = get();
  ASSERT_TRUE(dataset.ok()) << message(dataset);
  EXPECT_EQ(dataset->test.size, 0u);
}

TEST(LoadCsv, TestFileNeedsTheSameColumns) {
  const TestFolder folder;
  job::Data spec;
  spec.format = job::DataFormat::kCsv;
  spec.train_samples = folder.write("a.csv", "a,b,y\n1,2,0\n1,2,1\n");
  spec.test_samples = folder.write("b.csv", "a,b,y\n1,2,3\n");
  spec.limit = 1;
  const auto dataset = load(spec, job::Loss::kCrossEntropy, 1);
  ASSERT_TRUE(dataset.ok()) << message(dataset);
  EXPECT_EQ(dataset->train.size, 1u);
  EXPECT_EQ(dataset->train.class_count, 4);
  spec.test_samples = folder.write("b.csv", "b,a,y\n1,2,3\n");
  EXPECT_ERROR(load(spec, job::Loss::kCrossEntropy, 1), "b.csv:1: column 1 is 'b'", "a.csv");
  spec.test_samples = folder.write("b.csv", "a,y\n1,2\n");
  EXPECT_FALSE(load(spec, job::Loss::kCrossEntropy, 1).ok());
}

TEST(Load, NoFormatIsAnError) { EXPECT_ERROR(load({}, job::Loss::kMse, 1), "data.format"); }

class Synthetic : public ::testing::Test {
 protected:
  Synthetic() {
    spec_.format = job::DataFormat::kSynthetic;
    spec_.classes = 3;
  }
  Dataset make(job::Loss loss, std::uint64_t seed) {
    auto dataset = load(spec_, loss, seed);
    EXPECT_TRUE(dataset.ok()) << message(dataset);
    return dataset.take();
  }
  static std::vector<float> values(const Table& table) {
    const auto* start = reinterpret_cast<const float*>(table.values);
    return {start, start + table.size * table.elements()};
  }
  job::Data spec_;
};

TEST_F(Synthetic, SeedDecidesAllAndPartsDiffer) {
  const auto loss = job::Loss::kCrossEntropy;
  const Dataset one = make(loss, 1);
  EXPECT_EQ(values(one.train), values(make(loss, 1).train));
  EXPECT_NE(values(one.train), values(make(loss, 2).train));
  EXPECT_EQ(one.train.size, 1000u);
  EXPECT_EQ(one.test.size, 200u);
  EXPECT_NE(values(one.train)[0], values(one.test)[0]);
  spec_.limit = 10;
  EXPECT_EQ(make(loss, 1).train.size, 10u);
}

// The nearest class mean of the training part tells the test part's classes.
TEST_F(Synthetic, ClassesCanBeLearnt) {
  const Dataset set = make(job::Loss::kCrossEntropy, 5);
  const std::vector<float> x = values(set.train);
  std::vector<double> mean(3 * 20), count(3);
  for (std::size_t i = 0; i < set.train.size; ++i) {
    const auto c = static_cast<std::size_t>(set.train.classes[i]);
    ++count[c];
    for (std::size_t j = 0; j < 20; ++j) mean[c * 20 + j] += x[i * 20 + j];
  }
  const std::vector<float> t = values(set.test);
  int right = 0;
  for (std::size_t i = 0; i < set.test.size; ++i) {
    std::vector<double> distance(3);
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t j = 0; j < 20; ++j) {
        distance[c] += std::pow(t[i * 20 + j] - mean[c * 20 + j] / count[c], 2);
      }
    }
    const auto best = std::min_element(distance.begin(), distance.end()) - distance.begin();
    right += best == set.test.classes[i] ? 1 : 0;
  }
  EXPECT_GT(right, 170);
}

TEST_F(Synthetic, MseTargetsAreALinearMap) {
  spec_.noise = 0;
  spec_.features = 1;
  const Dataset set = make(job::Loss::kMse, 3);
  const std::vector<float> x = values(set.train);
  const float slope = set.train.targets[0] / x[0];
  for (std::size_t i = 0; i < set.train.size; ++i) {
    ASSERT_NEAR(set.train.targets[i], slope * x[i], 1e-5);
  }
}

TEST_F(Synthetic, BceTargetsAreZeroAndOne) {
  EXPECT_ERROR(load(spec_, job::Loss::kBce, 1), "data.classes = 3", "2");
  spec_.classes = 0;
  const Dataset set = make(job::Loss::kBce, 1);
  float sum = 0;
  for (std::size_t i = 0; i < set.train.size; ++i) {
    ASSERT_TRUE(set.train.targets[i] == 0 || set.train.targets[i] == 1);
    sum += set.train.targets[i];
  }
  EXPECT_NEAR(sum, 500, 100);
}

TEST_F(Synthetic, TooLargeIsAnErrorAndNoCrash) {
  spec_.samples = INT64_MAX;
  EXPECT_ERROR(load(spec_, job::Loss::kMse, 1), "data.samples");
  spec_.test_samples_count = 0;
  const auto result = load(spec_, job::Loss::kMse, 1);
  EXPECT_ERROR(result, "too little memory");
  spec_.samples = INT64_C(1) << 40;
  const auto large = load(spec_, job::Loss::kMse, 1);
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().kind, ErrorKind::kNoMemory);
  spec_.samples = 0;
  EXPECT_ERROR(load(spec_, job::Loss::kMse, 1), "data.samples = 0");
}

}  // namespace
}  // namespace instep::data
