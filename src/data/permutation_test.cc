#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/sampler.h"

namespace instep::data {
namespace {

void expect_bijection(std::uint64_t size, std::uint64_t key) {
  const Permutation permutation(size, key);
  std::vector<bool> seen(size);
  for (std::uint64_t i = 0; i < size; ++i) {
    const std::uint64_t value = permutation(i);
    ASSERT_LT(value, size);
    ASSERT_FALSE(seen[value]) << size << " " << i;
    seen[value] = true;
  }
}

TEST(Permutation, IsABijectionOfEverySmallSize) {
  for (std::uint64_t size = 1; size <= 2000; ++size) expect_bijection(size, size * 7);
}

TEST(Permutation, IsABijectionOfLargeSizes) {
  for (const std::uint64_t size : {65535, 65536, 65537, 60000, 300007, 1 << 20}) {
    expect_bijection(size, 3);
  }
}

TEST(Permutation, WorksAtTheEdgeOfItsRange) {
  for (const std::uint64_t size :
       {std::uint64_t{1} << 32, (std::uint64_t{1} << 62) + 1, ~std::uint64_t{0}}) {
    const Permutation permutation(size, 1);
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      values.push_back(permutation(i));
      values.push_back(permutation(size - 1 - i));
    }
    for (const std::uint64_t value : values) ASSERT_LT(value, size);
    std::sort(values.begin(), values.end());
    EXPECT_EQ(std::adjacent_find(values.begin(), values.end()), values.end());
  }
}

TEST(Permutation, DependsOnTheKeyAlone) {
  const Permutation one(1000, 1);
  const Permutation again(1000, 1);
  const Permutation other(1000, 2);
  int same = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(one(i), again(i));
    same += one(i) == other(i) ? 1 : 0;
  }
  EXPECT_LT(same, 10);
}

// Chi-square over (position, value) pairs of many keys. The bound is the mean plus six standard
// deviations; the keys are fixed, so it holds always or never.
TEST(Permutation, PutsEveryValueEverywhere) {
  for (const std::uint64_t size : {2, 3, 5, 8, 16, 17, 50, 64, 100}) {
    constexpr std::uint64_t kKeys = 20000;
    std::vector<double> count(size * size);
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      const Permutation permutation(size, key);
      for (std::uint64_t i = 0; i < size; ++i) ++count[i * size + permutation(i)];
    }
    const double expected = static_cast<double>(kKeys) / static_cast<double>(size);
    double chi_square = 0;
    for (const double found : count) {
      chi_square += (found - expected) * (found - expected) / expected;
    }
    // Rows and columns have fixed sums, which takes the factor.
    chi_square *= static_cast<double>(size - 1) / static_cast<double>(size);
    const auto freedom = static_cast<double>((size - 1) * (size - 1));
    EXPECT_LT(chi_square, freedom + 6 * std::sqrt(2 * freedom)) << size;
  }
}

// The order of neighbours: every pair of values follows each other equally often.
TEST(Permutation, NeighboursAreUnrelated) {
  constexpr std::uint64_t kSize = 12;
  constexpr std::uint64_t kKeys = 40000;
  std::vector<double> count(kSize * kSize);
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    const Permutation permutation(kSize, key);
    for (std::uint64_t i = 0; i + 1 < kSize; ++i) {
      ++count[permutation(i) * kSize + permutation(i + 1)];
    }
  }
  const double expected = static_cast<double>(kKeys) / kSize;
  for (std::uint64_t a = 0; a < kSize; ++a) {
    for (std::uint64_t b = 0; b < kSize; ++b) {
      if (a == b) continue;
      EXPECT_NEAR(count[a * kSize + b], expected, 6 * std::sqrt(expected));
    }
  }
}

}  // namespace
}  // namespace instep::data
