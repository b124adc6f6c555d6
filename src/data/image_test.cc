#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <numeric>

#include "base/random.h"
#include "data/readers.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

Dataset make_set(job::Loss loss, std::int64_t test_samples) {
  job::Data spec;
  spec.format = job::DataFormat::kSynthetic;
  spec.samples = 37;
  spec.test_samples_count = test_samples;
  spec.features = 5;
  spec.scale = 0.5;
  spec.shift = 0.25;
  return load(spec, loss, 9).take();
}

std::vector<float> all(const Table& table) {
  std::vector<std::uint64_t> samples(table.size);
  std::iota(samples.begin(), samples.end(), std::uint64_t{0});
  std::vector<float> out(table.size * table.elements());
  if (table.kind == Kind::kTokens) {
    std::vector<std::int64_t> x(out.size()), y(out.size());
    gather_tokens(table, samples, x.data(), y.data());
    x.insert(x.end(), y.begin(), y.end());
    return {x.begin(), x.end()};
  }
  gather(table, samples, out.data());
  std::vector<float> y(table.size);
  if (table.targets != nullptr) {
    gather_targets(table, samples, y.data());
  } else if (table.classes != nullptr) {
    std::vector<std::int64_t> classes(table.size);
    gather_classes(table, samples, classes.data());
    std::copy(classes.begin(), classes.end(), y.begin());
  }
  out.insert(out.end(), y.begin(), y.end());
  return out;
}

Dataset make_tokens() {
  const TestFolder folder;
  Dataset out;
  out.train = load_text(folder.write("train", counting_bytes(301)), 6).take();
  out.test = load_text(folder.write("test", counting_bytes(77)), 6).take();
  return out;
}

std::string content(const Fd& fd) {
  const auto size = static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END));
  std::string out(size, '\0');
  EXPECT_EQ(::pread(fd.get(), out.data(), size, 0), static_cast<ssize_t>(size));
  return out;
}

Result<Dataset> map_bytes(const std::string& bytes) {
  const Fd fd(::memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return map_image(fd);
}

TEST(Image, RoundTrip) {
  for (const job::Loss loss : {job::Loss::kCrossEntropy, job::Loss::kMse}) {
    for (const int test_samples : {0, 11}) {
      const Dataset before = make_set(loss, test_samples);
      auto image = make_image(before);
      ASSERT_TRUE(image.ok()) << message(image);
      Result<Dataset> after = map_image(*image);
      image->reset();
      ASSERT_TRUE(after.ok()) << message(after);
      EXPECT_EQ(all(before.train), all(after->train));
      EXPECT_EQ(all(before.test), all(after->test));
      EXPECT_EQ(after->train.shape, before.train.shape);
      EXPECT_EQ(after->train.class_count, before.train.class_count);
      EXPECT_EQ(after->test.size, before.test.size);
    }
  }
}

TEST(Image, BytesStayBytes) {
  const TestFolder folder;
  Dataset before;
  before.train =
      load_idx(folder.write("x", idx_images(10, 3, 3)), folder.write("y", idx_labels(10, 4)))
          .take();
  const auto image = make_image(before);
  ASSERT_TRUE(image.ok()) << message(image);
  const auto after = map_image(*image);
  ASSERT_TRUE(after.ok()) << message(after);
  EXPECT_EQ(after->train.kind, Kind::kU8);
  EXPECT_EQ(after->train.shape, (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(all(before.train), all(after->train));
}

TEST(Image, IsSealed) {
  const auto image = make_image(make_set(job::Loss::kMse, 3));
  ASSERT_TRUE(image.ok()) << message(image);
  if (::fcntl(image->get(), F_GET_SEALS) == F_SEAL_SEAL) GTEST_SKIP() << "no seals on this system";
  EXPECT_NE(::pwrite(image->get(), "x", 1, 0), 1);
  EXPECT_NE(::ftruncate(image->get(), 10), 0);
}

TEST(Image, EachTruncationIsAnError) {
  for (const Dataset& set : {make_set(job::Loss::kCrossEntropy, 3), make_tokens()}) {
    const auto image = make_image(set);
    const std::string whole = content(*image);
    ASSERT_TRUE(map_bytes(whole).ok());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      ASSERT_FALSE(map_bytes(whole.substr(0, size)).ok()) << size;
    }
    EXPECT_FALSE(map_bytes(whole + "x").ok());
  }
}

// Whatever the header says, map_image() refuses it or gives tables whose every sample can be read.
TEST(Image, DamagedHeadersReadNothingOutside) {
  for (const Dataset& set :
       {make_set(job::Loss::kCrossEntropy, 3), make_set(job::Loss::kMse, 3), make_tokens()}) {
    const auto image = make_image(set);
    const std::string whole = content(*image);
    Random random(4711);
    int refused = 0;
    for (int run = 0; run < 3000; ++run) {
      std::string bad = whole;
      const std::size_t at = random.below(400 / 4) * 4;
      const std::uint64_t kind = random.below(3);
      const std::uint32_t value = kind == 0   ? 0xffffffff
                                  : kind == 1 ? static_cast<std::uint32_t>(random.below(300))
                                              : static_cast<std::uint32_t>(random.next());
      std::memcpy(bad.data() + at, &value, sizeof(value));
      const auto dataset = map_bytes(bad);
      refused += dataset.ok() ? 0 : 1;
      if (dataset.ok()) {
        all(dataset->train);
        all(dataset->test);
      }
    }
    EXPECT_GT(refused, 500);
  }
}

TEST(Image, AnotherVersionIsAMismatch) {
  const auto image = make_image(make_set(job::Loss::kMse, 3));
  std::string bad = content(*image);
  ++bad[8];
  const auto dataset = map_bytes(bad);
  ASSERT_FALSE(dataset.ok());
  EXPECT_EQ(dataset.error().kind, ErrorKind::kMismatch);
}

}  // namespace
}  // namespace instep::data
