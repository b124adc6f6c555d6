#include <algorithm>
#include <cmath>

#include "data/readers.h"
#include "data/test_arrays.h"

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

class LoadNpy : public ::testing::Test {
 protected:
  LoadNpy() {
    spec_.format = job::DataFormat::kNpy;
    x_ = folder_.write("x.npy", npy("|u1", "(4, 2)", counting_bytes(8)));
    y_ = folder_.write("y.npy", npy("|u1", "(4,)", counting_bytes(4)));
    both_ = npz((folder_.path() / "both").string(),
                {{"x.npy", npy("<f4", "(3, 2)", std::string(24, '\0'))},
                 {"labels.npy", npy("<i8", "(3,)", raw<std::int64_t>({0, 5, 1}))}},
                true);
  }
  Result<Dataset> get() { return load(spec_, job::Loss::kCrossEntropy, 1); }
  TestFolder folder_;
  job::Data spec_;
  std::string x_, y_, both_;
};

TEST_F(LoadNpy, FilesAndArchivesByTheirBeginning) {
  spec_.train_samples = x_;
  spec_.train_targets = y_;
  spec_.test_samples = both_;
  spec_.targets_key = "labels";
  const auto set = get();
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->train.scale, 1.0f) << "the job's scale counts";
  EXPECT_EQ(set->train.class_count, 6);
  EXPECT_EQ(set->test.size, 3u);
  spec_.classes = 4;
  EXPECT_ERROR(get(), "both, array labels,: sample 1", "label 5", "0 to 3");
}

TEST_F(LoadNpy, TargetsBelongWhereTheyAreDue) {
  EXPECT_ERROR(get(), "data.train_samples");
  spec_.train_samples = x_;
  EXPECT_ERROR(get(), "x.npy holds one array", "data.train_targets", "NPZ");
  spec_.train_samples = both_;
  spec_.train_targets = y_;
  EXPECT_ERROR(get(), "both is an NPZ archive", "data.targets_key",
               "leave data.train_targets empty");
  spec_.train_samples = x_;
  spec_.test_targets = y_;
  EXPECT_ERROR(get(), "data.test_targets is set without data.test_samples");
}

TEST_F(LoadNpy, InputsToPredict) {
  EXPECT_EQ(load_inputs(x_, spec_, 2)->size, 4u);
  EXPECT_EQ(load_inputs(both_, spec_, 2)->size, 3u);
  EXPECT_ERROR(load_inputs(x_, spec_, 5), "x.npy holds samples of 2 values", "takes 5");
  spec_.format = job::DataFormat::kCifar;
  EXPECT_ERROR(load_inputs(x_, spec_, 0), "samples of 2", "3 x 32 x 32");
  const std::string record = '\4' + std::string(3072, '\7');
  EXPECT_EQ(load_inputs(folder_.write("some.bin", record + record), spec_, 3072)->size, 2u);
  const std::string flat = npy("|u1", "(1, 3072)", std::string(3072, '\7'));
  const auto image = load_inputs(folder_.write("flat.npy", flat), spec_, 3072);
  ASSERT_TRUE(image.ok()) << message(image);
  EXPECT_EQ(image->shape, (std::vector<std::int64_t>{3, 32, 32}));
  const std::string planes = npy("|u1", "(1, 32, 32, 3)", std::string(3072, '\7'));
  EXPECT_ERROR(load_inputs(folder_.write("last.npy", planes), spec_, 3072), "32 x 32 x 3",
               "plane after plane");
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

// What says an image's class is not where things are: no pixel's mean tells, but how a pixel goes
// with its neighbours does.
TEST_F(Synthetic, ImagesAreKnownByTextureNotByPlace) {
  spec_.shape = {3, 12, 10};
  spec_.noise = 0.1;
  spec_.samples = 600;
  const Dataset set = make(job::Loss::kCrossEntropy, 7);
  EXPECT_EQ(set.train.shape, spec_.shape);
  const std::vector<float> x = values(set.train);
  const std::size_t elements = 360;
  std::vector<double> mean(3 * elements), count(3), square(3), neighbours(3 * elements);
  const auto neighbour = [](std::size_t j) { return j % 10 == 9 ? j - 9 : j + 1; };
  for (std::size_t i = 0; i < set.train.size; ++i) {
    const auto c = static_cast<std::size_t>(set.train.classes[i]);
    ++count[c];
    const float* sample = &x[i * elements];
    for (std::size_t j = 0; j < elements; ++j) {
      mean[c * elements + j] += sample[j];
      square[c] += sample[j] * sample[j] / elements;
      neighbours[c * elements + j / 120] += sample[j] * sample[neighbour(j)] / 120;
    }
  }
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(square[c] / count[c], 1.01, 0.35) << "values have about variance 1";
    for (std::size_t j = 0; j < elements; ++j) {
      EXPECT_LT(std::abs(mean[c * elements + j]) / count[c], 0.4) << "no place tells the class";
    }
  }
  double apart = 0;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    for (std::size_t c = 1; c < 3; ++c) {
      apart = std::max(apart, std::abs(neighbours[c * elements + channel] / count[c] -
                                       neighbours[channel] / count[0]));
    }
  }
  EXPECT_GT(apart, 0.2) << "textures differ";
}

TEST_F(Synthetic, ShapesOfOtherKindsKeepTheValues) {
  const std::vector<float> flat = values(make(job::Loss::kCrossEntropy, 3).train);
  spec_.shape = {4, 5};
  const Dataset set = make(job::Loss::kCrossEntropy, 3);
  EXPECT_EQ(set.train.shape, spec_.shape);
  EXPECT_EQ(values(set.train), flat);
  const Dataset map = make(job::Loss::kHuber, 3);
  EXPECT_EQ(map.train.target_width, 1);
  EXPECT_EQ(map.train.shape, spec_.shape);
  spec_.shape = std::vector<std::int64_t>(9, 1);
  EXPECT_ERROR(load(spec_, job::Loss::kMse, 1), "data.shape", "9 dimensions", "at most 8");
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
