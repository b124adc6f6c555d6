#include <bit>
#include <limits>

#include "data/readers.h"
#include "data/test_files.h"

namespace instep::data {
namespace {

std::string floats(const std::vector<float>& values) {
  std::string out;
  for (const float value : values) out += big_endian_text(std::bit_cast<std::uint32_t>(value));
  return out;
}

class Idx : public ::testing::Test {
 protected:
  Result<Table> load_samples(const std::string& content) {
    return load_idx(folder_.write("samples", content), folder_.write("labels", idx_labels(7, 3)));
  }
  Result<Table> load_labels(const std::string& content) {
    return load_idx(folder_.write("samples", idx_images(7, 2, 3)),
                    folder_.write("labels", content));
  }
  TestFolder folder_;
};

TEST_F(Idx, PlainAndGzipReadTheSame) {
  for (const bool packed : {false, true}) {
    const auto pack = [&](const std::string& text) { return packed ? gzip(text) : text; };
    const auto table = load_idx(folder_.write("x", pack(idx_images(300, 5, 4))),
                                folder_.write("y", pack(idx_labels(300, 10))));
    ASSERT_TRUE(table.ok()) << message(table);
    EXPECT_EQ(table->size, 300u);
    EXPECT_EQ(table->shape, (std::vector<std::int64_t>{5, 4}));
    EXPECT_EQ(table->elements(), 20u);
    EXPECT_EQ(table->kind, Kind::kU8);
    EXPECT_EQ(table->class_count, 10);
    EXPECT_EQ(table->scale, 1.0f / 255.0f);
    for (std::uint64_t i = 0; i < 6000; ++i) {
      ASSERT_EQ(std::to_integer<std::uint64_t>(table->values[i]), i % 256);
    }
    for (std::uint64_t i = 0; i < 300; ++i) {
      ASSERT_EQ(table->classes[i], static_cast<std::int32_t>(i % 10));
    }
  }
}

TEST_F(Idx, FloatSamplesAndTargets) {
  const auto table =
      load_idx(folder_.write("x", idx_header(0x0d, {2, 3}) + floats({1, -2, 3.5f, 0, 1e-9f, 7})),
               folder_.write("y", idx_header(0x0d, {2, 2}) + floats({0.5f, 1, 2, -4})));
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(table->kind, Kind::kF32);
  EXPECT_EQ(table->scale, 1.0f);
  EXPECT_EQ(table->target_width, 2);
  EXPECT_EQ(table->classes, nullptr);
  EXPECT_EQ(reinterpret_cast<const float*>(table->values)[4], 1e-9f);
  EXPECT_EQ(table->targets[3], -4.0f);
}

TEST_F(Idx, IntegerLabels) {
  const auto table =
      load_labels(idx_header(0x0c, {7}) + big_endian_text(400) + std::string(6 * 4, '\0'));
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(table->classes[0], 400);
  EXPECT_EQ(table->class_count, 401);
  EXPECT_ERROR(load_labels(idx_header(0x0c, {7}) + std::string(12, '\0') +
                           big_endian_text(0xffffffff) + std::string(12, '\0')),
               "labels", "sample 3", "label -1");
}

TEST_F(Idx, EachTruncationIsAnError) {
  const std::string whole = idx_images(7, 2, 3);
  ASSERT_TRUE(load_samples(whole).ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(load_samples(whole.substr(0, size)).ok()) << size;
  }
  const std::string packed = gzip(whole);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(load_samples(packed.substr(0, size)).ok()) << size;
  }
  EXPECT_ERROR(load_samples(whole.substr(0, 20)), "samples is truncated", "7 x 2 x 3",
               "4 bytes of them");
}

TEST_F(Idx, EachFlippedBitOfGzipIsFound) {
  const std::string packed = gzip(idx_images(7, 2, 3));
  int refused = 0;
  for (std::size_t bit = 0; bit < packed.size() * 8; ++bit) {
    std::string bad = packed;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    refused += load_samples(bad).ok() ? 0 : 1;
  }
  // Time, system and the "extra flags" of gzip's header change nothing.
  EXPECT_GE(refused, static_cast<int>(packed.size() * 8) - 8 * 7);
}

TEST_F(Idx, TrailingBytesAreAnError) {
  EXPECT_ERROR(load_samples(idx_images(7, 2, 3) + "abc"), "samples has 3 bytes after");
  EXPECT_ERROR(load_samples(gzip(idx_images(7, 2, 3)) + std::string(1, '\0') + "\x03" +
                            std::string(2, '\0')),
               "samples", "gzip");
  EXPECT_ERROR(load_samples(gzip(idx_images(7, 2, 3)) + gzip("more")), "samples", "gzip");
}

TEST_F(Idx, HeadersThatClaimTooMuchTakeNoMemory) {
  EXPECT_ERROR(load_samples(idx_header(8, {0xffffffff, 0xffffffff, 0xffffffff}) + "x"), "truncated",
               "4294967295 x");
  EXPECT_ERROR(load_samples(idx_header(8, {7, 0, 3}) + "x"), "empty");
  std::string packed = gzip(idx_images(7, 2, 3));
  packed.replace(packed.size() - 4, 4, "\xff\xff\xff\xff");
  EXPECT_ERROR(load_samples(packed), "claims 4294967295 bytes", "at most");
}

TEST_F(Idx, WrongMagic) {
  EXPECT_ERROR(load_samples("\x89PNG\r\n\x1a\n0123456789"), "samples is no IDX file", "0x89504e47");
  EXPECT_ERROR(load_samples(idx_header(8, {}) + "01234567"), "is no IDX file");
  EXPECT_ERROR(load_samples(idx_header(8, std::vector<std::uint32_t>(9, 1)) + "x"),
               "at most 8 dimensions");
  EXPECT_ERROR(load_samples(idx_header(0x0e, {1}) + "01234567"), "type 0xe", "0xd (f32)");
  EXPECT_ERROR(load_samples(idx_header(0x0c, {1}) + "0123"), "i32", "samples are u8 or f32");
  EXPECT_ERROR(load_samples(""), "empty");
}

TEST_F(Idx, CountsMustAgree) {
  EXPECT_ERROR(load_labels(idx_labels(6, 3)), "samples holds 7 samples", "labels holds 6 targets");
  EXPECT_ERROR(load_labels(idx_images(7, 1, 2)), "labels", "one label a sample");
}

TEST_F(Idx, NonfiniteValuesAreNamed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR(load_samples(idx_header(0x0d, {7, 1}) + floats({0, 0, 0, nan, 0, 0, 0})), "sample 3",
               "nan");
}

TEST_F(Idx, MissingFilesAndFolders) {
  const auto missing = load_idx(folder_.path() / "nowhere", folder_.path() / "labels");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::kNotFound);
  EXPECT_ERROR(missing, "nowhere");
  EXPECT_ERROR(load_idx(folder_.path(), folder_.path()), "not a regular file");
}

}  // namespace
}  // namespace instep::data
