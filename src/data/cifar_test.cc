#include "data/readers.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

// Records whose labels count up from `first` and whose pixels are all `pixel`.
std::string records(int count, int first, std::size_t labels, char pixel = 7) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    if (labels == 2) out += '\3';
    out += static_cast<char>(first + i);
    out += std::string(3071, pixel) + static_cast<char>(i);
  }
  return out;
}

class Cifar : public ::testing::Test {
 protected:
  Result<Dataset> get(job::Loss loss = job::Loss::kCrossEntropy) { return load(spec_, loss, 1); }
  Cifar() {
    spec_.format = job::DataFormat::kCifar;
    spec_.train_samples = folder_.path().string();
  }
  TestFolder folder_;
  job::Data spec_;
};

TEST_F(Cifar, FolderOfCifar10) {
  for (const int batch : {10, 1, 2}) {
    folder_.write("data_batch_" + std::to_string(batch) + ".bin", records(2, batch % 9, 1));
  }
  folder_.write("readme.html", "no data");
  const auto train = get();
  ASSERT_TRUE(train.ok()) << message(train);
  EXPECT_EQ(train->test.size, 0u);
  folder_.write("test_batch.bin", records(3, 0, 1));
  const auto both = get();
  ASSERT_TRUE(both.ok()) << message(both);
  EXPECT_EQ(both->test.size, 3u);
  EXPECT_EQ(both->train.shape, (std::vector<std::int64_t>{3, 32, 32}));
  EXPECT_EQ(both->train.kind, Kind::kU8);
  // Batches in the order of their numbers, pixels without the labels.
  const std::vector<std::int32_t> due = {1, 2, 2, 3, 1, 2};
  EXPECT_EQ(std::vector<std::int32_t>(both->train.classes, both->train.classes + 6), due);
  EXPECT_EQ(std::to_integer<int>(both->train.values[3070]), 7);
  EXPECT_EQ(std::to_integer<int>(both->train.values[2 * 3072 - 1]), 1);
  spec_.limit = 3;
  spec_.test_limit = 1;
  const auto fewer = get();
  ASSERT_TRUE(fewer.ok()) << message(fewer);
  EXPECT_EQ(fewer->train.size, 3u);
  EXPECT_EQ(fewer->test.size, 1u);
}

TEST_F(Cifar, Cifar100TakesTheFineLabel) {
  folder_.write("train.bin", records(4, 90, 2));
  folder_.write("test.bin", records(2, 98, 2));
  const auto set = get();
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->train.classes[0], 90);
  EXPECT_EQ(set->test.classes[1], 99);
  EXPECT_EQ(set->train.class_count, 100);
  EXPECT_EQ(std::to_integer<int>(set->train.values[0]), 7);
  folder_.write("test.bin", records(2, 99, 2));
  EXPECT_ERROR(get(), "test.bin: record 1", "label 100", "0 to 99");
}

TEST_F(Cifar, OneFileIsJudgedByNameThenSizeThenLabels) {
  const auto classes = [this](const std::string& name, const std::string& content) {
    const auto table = load_cifar(folder_.write(name, content), false);
    return table.ok() ? table->class_count : -1;
  };
  EXPECT_EQ(classes("some.bin", records(3, 0, 1)), 10);
  EXPECT_EQ(classes("some.bin", records(3, 0, 2)), 100);
  EXPECT_EQ(classes("some.bin.gz", gzip(records(3, 0, 2))), 100);
  // A size that both divide.
  std::string both;
  for (int i = 0; i < 3074; ++i) both += records(1, i % 10, 1);
  EXPECT_EQ(classes("some.bin", both), 10);
  EXPECT_EQ(classes("train.bin", both), 100);
  both.clear();
  for (int i = 0; i < 3073; ++i) both += records(1, i % 100, 2, '\x77');
  EXPECT_EQ(classes("some.bin", both), 100);
  EXPECT_EQ(classes("data_batch_1.bin", both), -1);  // labels above 9
}

TEST_F(Cifar, TestSetOfItsOwn) {
  folder_.write("data_batch_1.bin", records(2, 0, 1));
  folder_.write("test_batch.bin", records(3, 0, 1));
  spec_.test_samples = folder_.write("other.bin", records(5, 0, 1));
  const auto set = get();
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->test.size, 5u);
  spec_.test_samples = spec_.train_samples;
  spec_.train_samples += "/data_batch_1.bin";
  EXPECT_EQ(get()->test.size, 3u);
  spec_.test_samples = "";
  EXPECT_EQ(get()->test.size, 0u);
}

TEST_F(Cifar, WhatIsNoCifar) {
  EXPECT_ERROR(get(), "the folder", "holds no data_batch_*.bin (CIFAR-10) and no train.bin");
  const std::string whole = records(2, 0, 1);
  for (const std::size_t size : {std::size_t{1}, whole.size() - 1}) {
    folder_.write("data_batch_1.bin", whole.substr(0, size));
    EXPECT_ERROR(get(), "data_batch_1.bin has", "3073", "3074", "whole");
  }
  folder_.write("data_batch_1.bin", "");
  EXPECT_ERROR(get(), "empty");
  folder_.write("data_batch_1.bin", records(2, 9, 1));
  EXPECT_ERROR(get(), "data_batch_1.bin: record 1", "label 10", "CIFAR-10 has 0 to 9");
  folder_.write("data_batch_1.bin", whole);
  spec_.test_samples = spec_.train_samples;
  EXPECT_ERROR(get(), "holds no test_batch.bin");
  folder_.write("train.bin", records(2, 0, 2));
  EXPECT_ERROR(get(), "both CIFAR-10", "CIFAR-100");
  spec_.train_samples = (folder_.path() / "missing").string();
  EXPECT_ERROR(get(), "missing", "No such file");
}

TEST_F(Cifar, LabelsBecomeTargets) {
  folder_.write("data_batch_1.bin", records(2, 0, 1));
  const auto set = get(job::Loss::kBce);
  ASSERT_TRUE(set.ok()) << message(set);
  EXPECT_EQ(set->train.targets[1], 1.0f);
  spec_.classes = 1;
  EXPECT_ERROR(get(), "label 1", "data.classes");
}

}  // namespace
}  // namespace instep::data
