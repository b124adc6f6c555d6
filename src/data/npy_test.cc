#include <limits>

#include "data/readers.h"
#include "data/test_arrays.h"

namespace instep::data {
namespace {

class Npy : public ::testing::Test {
 protected:
  Result<Table> load_samples(const std::string& content) {
    return load_npy(folder_.write("x.npy", content),
                    folder_.write("y.npy", npy("|u1", "(3,)", counting_bytes(3))));
  }
  Result<Table> load_targets(const std::string& content) {
    return load_npy(folder_.write("x.npy", npy("|u1", "(3, 2)", counting_bytes(6))),
                    folder_.write("y.npy", content));
  }
  static std::vector<float> values(const Table& table) {
    const auto* start = reinterpret_cast<const float*>(table.values);
    return {start, start + table.size * table.elements()};
  }
  static std::vector<std::int32_t> classes(const Table& table) {
    return {table.classes, table.classes + table.size};
  }
  TestFolder folder_;
};

TEST_F(Npy, BytesAndLabelsOfAllVersions) {
  for (const int version : {1, 2, 3}) {
    for (const char* type : {"|u1", "<u1", "|b1"}) {
      const auto table =
          load_npy(folder_.write("x", npy(type, "(3, 2, 2)", counting_bytes(12, 2), version)),
                   folder_.write("y", npy("<i8", "(3, 1)", raw<std::int64_t>({4, 0, 1}), version)));
      ASSERT_TRUE(table.ok()) << message(table);
      EXPECT_EQ(table->size, 3u);
      EXPECT_EQ(table->shape, (std::vector<std::int64_t>{2, 2}));
      EXPECT_EQ(table->kind, Kind::kU8);
      EXPECT_EQ(table->scale, 1.0f / 255.0f);
      EXPECT_EQ(std::to_integer<int>(table->values[3]), 1);
      EXPECT_EQ(classes(*table), (std::vector<std::int32_t>{4, 0, 1}));
      EXPECT_EQ(table->class_count, 5);
    }
  }
}

TEST_F(Npy, FloatsOfBothWidths) {
  const std::vector<float> narrow = {1, -2.5f, 1e-9f, 0, 7, 3};
  const auto f4 = load_samples(npy("<f4", "(3, 2)", raw(narrow)));
  ASSERT_TRUE(f4.ok()) << message(f4);
  EXPECT_EQ(values(*f4), narrow);
  EXPECT_EQ(f4->scale, 1.0f);
  const auto f8 = load_samples(npy("<f8", "(3, 2)", raw<double>({1, -2.5, 1e-9, 0, 7, 3})));
  ASSERT_TRUE(f8.ok()) << message(f8);
  EXPECT_EQ(values(*f8), narrow);
  EXPECT_EQ(f8->kind, Kind::kF32);
  // A single value a sample, and gzip around it all.
  const auto flat = load_samples(gzip(npy("<f4", "(3,)", raw<float>({5, 6, 7}))));
  ASSERT_TRUE(flat.ok()) << message(flat);
  EXPECT_EQ(flat->shape, std::vector<std::int64_t>{1});
}

template <class T>
std::string as_raw(const std::vector<int>& values) {
  return raw(std::vector<T>(values.begin(), values.end()));
}

TEST_F(Npy, LabelsOfEachWidth) {
  const std::vector<int> due = {2, 0, 101};
  const std::map<std::string, std::string> files = {
      {"|u1", as_raw<std::uint8_t>(due)},  {"|i1", as_raw<std::int8_t>(due)},
      {"<u2", as_raw<std::uint16_t>(due)}, {"<i2", as_raw<std::int16_t>(due)},
      {"<u4", as_raw<std::uint32_t>(due)}, {"<i4", as_raw<std::int32_t>(due)},
      {"<u8", as_raw<std::uint64_t>(due)}, {"=i8", as_raw<std::int64_t>(due)}};
  for (const auto& [type, content] : files) {
    const auto table = load_targets(npy(type, "(3,)", content));
    ASSERT_TRUE(table.ok()) << type << message(table);
    EXPECT_EQ(classes(*table), due) << type;
    EXPECT_EQ(table->class_count, 102) << type;
  }
}

TEST_F(Npy, LabelsOutOfRange) {
  EXPECT_ERROR(load_targets(npy("<i8", "(3,)", raw<std::int64_t>({1, 5000000000, 0}))), "y.npy",
               "target 1", "5000000000", "0 to 2147483647");
  EXPECT_ERROR(load_targets(npy("|i1", "(3,)", raw<std::int8_t>({1, 0, -7}))), "y.npy", "target 2",
               "-7");
  EXPECT_ERROR(load_targets(npy("<u8", "(3,)", raw<std::uint64_t>({~0ULL, 0, 1}))),
               "18446744073709551615");
  EXPECT_ERROR(load_targets(npy("<i4", "(3, 2)", std::string(24, '\0'))), "y.npy", "3 x 2",
               "one label a sample");
}

TEST_F(Npy, FloatTargets) {
  const auto table = load_targets(npy("<f8", "(3, 2)", raw<double>({1, 2, 3, 4, -5, 6})));
  ASSERT_TRUE(table.ok()) << message(table);
  EXPECT_EQ(table->target_width, 2);
  EXPECT_EQ(table->classes, nullptr);
  EXPECT_EQ(table->targets[4], -5.0f);
}

// A header whose length is no multiple of anything: the values are moved where they can be read.
TEST_F(Npy, ValuesMayBeginAnywhere) {
  const std::vector<float> due = {1, 2, 3};
  for (std::size_t spaces = 0; spaces < 9; ++spaces) {
    const std::string header =
        "{\"shape\":(3L,),\"fortran_order\":True,\"descr\":\"<f4\"}" + std::string(spaces, ' ');
    const auto table = load_samples(npy_of(header, raw(due)));
    ASSERT_TRUE(table.ok()) << message(table);
    EXPECT_EQ(values(*table), due);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(table->values) % alignof(float), 0u);
  }
}

TEST_F(Npy, TypesThatAreNoSamples) {
  const auto refuse = [this](const std::string& type, const char* word) {
    EXPECT_ERROR(load_samples(npy(type, "(3, 2)", std::string(96, '\0'))), "x.npy", word);
  };
  refuse("<i8", "samples are u1 (or bool), f4 or f8");
  refuse("<f2", "'<f2'");
  refuse("<c16", "'<c16'");
  refuse("<U4", "'<U4'");
  refuse("<M8[ns]", "'<M8[ns]'");
  refuse("|O", "pickled Python objects, which are never loaded");
  refuse(">f4", "big-endian values, numpy's '>f4'; save them little-endian, with .astype('<f4')");
  refuse("", "''");
  refuse("f4", "'f4'");
  EXPECT_ERROR(load_targets(npy(">i4", "(3,)", std::string(12, '\0'))), "big-endian");
  EXPECT_ERROR(load_targets(npy("|S1", "(3,)", "abc")), "targets are whole numbers");
  EXPECT_ERROR(load_samples(npy_of("{'descr': [('a', '<f4')], 'fortran_order': False, "
                                   "'shape': (3,), }",
                                   std::string(12, '\0'))),
               "several fields");
}

TEST_F(Npy, ShapesThatAreNone) {
  const std::string two = raw<float>({1, 2, 3, 4, 5, 6});
  EXPECT_ERROR(
      load_samples(npy_of("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", two)),
      "Fortran order", "ascontiguousarray");
  EXPECT_ERROR(load_samples(npy("<f4", "()", two.substr(0, 4))), "0 dimensions");
  EXPECT_ERROR(load_samples(npy("<f4", "(1,1,1,1,1,1,1,1,1)", "abcd")), "9 dimensions", "1 to 8");
  EXPECT_ERROR(load_samples(npy("<f4", "(3, 0)", "")), "empty", "3 x 0");
  EXPECT_ERROR(load_samples(npy("<f4", "(3, 3)", two)), "truncated", "3 x 3", "24 bytes of them");
  EXPECT_ERROR(load_samples(npy("<f4", "(3, 1)", two)), "12 bytes after");
  EXPECT_ERROR(load_samples(npy("<f4", "(4000000000, 4000000000, 4000000000)", two)), "truncated");
  EXPECT_ERROR(load_samples(npy("<f4", "(99999999999999999999,)", two)), "too large");
  EXPECT_ERROR(load_samples(npy("<f4", "(2, 3)", two)), "holds 2 samples", "holds 3 targets");
}

TEST_F(Npy, HeadersThatAreNone) {
  const std::string tail = "'fortran_order': False, 'shape': (3,), }";
  for (const std::string& header : std::vector<std::string>{
           std::string(), std::string("{"), std::string("{}"), "{'descr': '<f4', " + tail + "x",
           "{'descr': '<f4', 'descr': '<f4', " + tail, "{'descr': 5, " + tail,
           "{descr: '<f4', " + tail, "{'descr' '<f4', " + tail,
           "{'descr': '<f4, fortran_order: False", "{'descr': '<f4', 'more': 1, " + tail,
           std::string("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,), }"),
           std::string("{'descr': '<f4', 'fortran_order': False, 'shape': 3, }"),
           std::string("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }"),
           std::string("{'descr': '<f4', 'fortran_order': False, 'shape': (3, }"),
           std::string("{'descr': '<f4', 'fortran_order': False, 'shape': (3 3), }"),
           std::string("{'descr': '<f4', 'fortran_order': False, 'shape': (3,) "),
           std::string("{'descr': '<f4', 'fortran_order': False, }")}) {
    EXPECT_ERROR(load_samples(npy_of(header, raw<float>({1, 2, 3}))),
                 "x.npy is no whole NPY array");
  }
}

TEST_F(Npy, EachTruncationIsAnError) {
  const std::string whole = npy("<f8", "(3, 2)", raw<double>({1, 2, 3, 4, 5, 6}));
  ASSERT_TRUE(load_samples(whole).ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(load_samples(whole.substr(0, size)).ok()) << size;
  }
}

TEST_F(Npy, BeginningsThatAreNone) {
  EXPECT_ERROR(load_samples("\x89PNG\r\n\x1a\n0123456789"), "x.npy is no NPY file", "'?PNG");
  EXPECT_ERROR(load_samples(npy("<f4", "(3,)", std::string(12, '\0'), 4)), "version 4", "1 to 3");
  std::string claims = npy("<f4", "(3,)", std::string(12, '\0'), 2);
  claims[10] = '\x7f';
  EXPECT_ERROR(load_samples(claims), "claims a header of", "65536");
}

TEST_F(Npy, ValuesThatAreNotFinite) {
  const double infinite = std::numeric_limits<double>::infinity();
  EXPECT_ERROR(load_samples(npy("<f8", "(3,)", raw<double>({1, infinite, 1}))), "sample 1", "inf");
  EXPECT_ERROR(load_samples(npy("<f8", "(3,)", raw<double>({1, 2, 1e300}))), "sample 2", "1e+300",
               "no f32 can hold");
  EXPECT_ERROR(
      load_targets(npy("<f4", "(3,)", raw<float>({1, std::numeric_limits<float>::quiet_NaN(), 1}))),
      "y.npy", "sample 1", "nan");
}

}  // namespace
}  // namespace instep::data
