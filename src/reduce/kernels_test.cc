#include "reduce/kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"
#include "reduce/flat.h"

namespace instep::reduce {
namespace {

std::vector<float> noise(std::uint64_t key, std::size_t count) {
  Random random(key);
  std::vector<float> out(count);
  for (float& value : out) value = static_cast<float>(random.normal());
  return out;
}

TEST(Kernels, SumOfSquaresIsNearTheExactOne) {
  for (const std::size_t count : {0, 1, 7, 8, 9, 1023, 1024}) {
    const std::vector<float> values = noise(count, count);
    long double exact = 0;
    for (const float value : values) exact += static_cast<long double>(value) * value;
    EXPECT_NEAR(sum_of_squares(values.data(), count), static_cast<double>(exact),
                1e-12 * (1 + count));
  }
}

TEST(Kernels, TreeSumAddsInTheTreesOrder) {
  const std::vector<double> values = {1e16, 1.0, -1e16, 1.0, 3.0};
  EXPECT_EQ(tree_sum(values), ((1e16 + 1.0) + (-1e16 + 1.0)) + 3.0);
  EXPECT_EQ(tree_sum({}), 0.0);
}

// Streamed and plain stores give the same bits, and a NaN of any payload becomes the one.
TEST(Combiner, StreamedStoresAndPlainOnesAgree) {
  const std::size_t count = 5003;
  std::vector<float> a = noise(1, count);
  const std::vector<float> b = noise(2, count);
  a[17] = std::bit_cast<float>(0xffc12345U);
  alignas(64) static float plain[5003];
  alignas(64) static float streamed[5003];
  Combiner combiner(2, {{0, 1}, {1, 1}});
  const float* parts[] = {a.data(), b.data()};
  combiner.run(parts, plain, count, 0.5F, false);
  combiner.run(parts, streamed, count, 0.5F, true);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(plain[i]), std::bit_cast<std::uint32_t>(streamed[i]));
  }
  EXPECT_EQ(std::bit_cast<std::uint32_t>(plain[17]), 0x7fc00000U);
}

// A sum that starts with an absent part once left its scratch row to be overwritten by the next.
TEST(Combiner, AbsentPartsAreLeftOut) {
  const std::size_t count = 100;
  const std::vector<float> b = noise(1, count);
  const std::vector<float> c = noise(2, count);
  const std::vector<float> d = noise(3, count);
  const std::vector<Node> leaves = {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}};
  Combiner combiner(8, leaves);
  const float* parts[] = {nullptr,  nullptr,  b.data(), c.data(),
                          d.data(), b.data(), nullptr,  c.data()};
  std::vector<float> out(count);
  combiner.run(parts, out.data(), count, 1.0F, false);
  for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(out[i], (b[i] + c[i]) + ((d[i] + b[i]) + c[i]));
  const float* none[8] = {};
  combiner.run(none, out.data(), count, 1.0F, false);
  for (const float value : out) EXPECT_EQ(value, 0.0F);
}

// The fp32 sum of S terms is within (ceil(log2 S)) half-ulps of the magnitudes' sum (Higham,
// Accuracy and Stability of Numerical Algorithms, section 4.2, pairwise summation).
TEST(Combiner, StaysWithinThePairwiseBoundOfTheExactSum) {
  for (const std::uint32_t shards : {2U, 5U, 8U, 12U}) {
    const std::size_t count = 2000;
    std::vector<std::vector<float>> values;
    std::vector<const float*> parts;
    std::vector<Node> leaves;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      values.push_back(noise(shard + 100, count));
      leaves.push_back({shard, 1});
    }
    for (const auto& value : values) parts.push_back(value.data());
    std::vector<float> out(count);
    Combiner(shards, leaves).run(parts.data(), out.data(), count, 1.0F, false);
    const double unit = std::numeric_limits<float>::epsilon() / 2;
    const double depth = std::ceil(std::log2(shards));
    for (std::size_t i = 0; i < count; ++i) {
      double exact = 0;
      double magnitude = 0;
      for (const auto& value : values) {
        exact += value[i];
        magnitude += std::abs(value[i]);
      }
      ASSERT_LE(std::abs(out[i] - exact), (depth + 1) * unit * magnitude);
    }
  }
}

TEST(Kernels, SumOfBitsIsAPlainSumThatEachBitChanges) {
  Random random(1);
  for (const std::size_t count : {0UL, 2UL, 30UL, 32UL, 34UL, 62UL, 96UL, 1024UL, 1030UL}) {
    std::vector<float> values(count), copy(count + 1, 5.0F);
    for (float& value : values) value = static_cast<float>(random.uniform());
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i < count; i += 2) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &values[i], sizeof bits);
      expected += bits;
    }
    EXPECT_EQ(sum_of_bits(values.data(), count), expected) << count;
    EXPECT_EQ(copy_and_sum_bits(copy.data(), values.data(), count), expected) << count;
    EXPECT_EQ(std::memcmp(copy.data(), values.data(), count * sizeof(float)), 0) << count;
    EXPECT_EQ(copy[count], 5.0F) << count;
    for (std::size_t bit = 0; bit < 32 * count; bit += 1 + count / 8) {
      auto* word = reinterpret_cast<std::uint32_t*>(&values[bit / 32]);
      *word ^= 1U << bit % 32;
      EXPECT_NE(sum_of_bits(values.data(), count), expected) << count << " bit " << bit;
      *word ^= 1U << bit % 32;
    }
  }
}

TEST(FlatSpace, AlignsTensorsAndGroups) {
  FlatSpace space;
  space.begin_group();
  EXPECT_EQ(space.add(10), (Range{0, 10}));
  EXPECT_EQ(space.add(2000), (Range{16, 2000}));
  space.begin_group();
  EXPECT_EQ(space.add(5), (Range{2048, 5}));
  space.finish();
  EXPECT_EQ(space.blocks(), 3U);
  EXPECT_EQ(space.groups(), (std::vector<Range>{{0, 2048}, {2048, 1024}}));
  const std::vector<Range> units = cut_units(space, 1, 2, 4096);
  EXPECT_EQ(units, (std::vector<Range>{{1024, 1024}, {2048, 1024}}));
}

}  // namespace
}  // namespace instep::reduce
