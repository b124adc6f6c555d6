#include "member/slices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "member/lineup.h"

namespace instep::member {
namespace {

using Doubles = std::vector<double>;

void expect_near(const Doubles& got, const Doubles& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t k = 0; k < got.size(); ++k) EXPECT_NEAR(got[k], wanted[k], 1e-12) << k;
}

std::vector<std::uint64_t> blocks_of(const Doubles& rates, std::uint64_t blocks) {
  std::vector<HostWeight> hosts;
  for (std::size_t k = 0; k < rates.size(); ++k) hosts.push_back({HostId(k), 1, rates[k]});
  const Lineup lineup = assign_hosts(1, 0, hosts, std::uint32_t(rates.size()), blocks);
  EXPECT_TRUE(validate(lineup, std::uint32_t(rates.size()), blocks).ok());
  std::vector<std::uint64_t> out;
  for (const HostPart& part : lineup.hosts) out.push_back(part.blocks);
  return out;
}

TEST(BestSlices, KnownCases) {
  using Blocks = std::vector<std::uint64_t>;
  expect_near(best_slices({3, 3, 3}), {1.0 / 3, 1.0 / 3, 1.0 / 3});
  // What T r - 1 is for T = 4 / 2.75.
  expect_near(best_slices({1, 1, 0.75}), {5.0 / 11, 5.0 / 11, 1.0 / 11});
  expect_near(best_slices({1, 1, 0.25}), {0.5, 0.5, 0});
  expect_near(best_slices({10, 1, 1}), {1, 0, 0});
  // The slowest one's own sums take so long that nobody else is in a hurry.
  expect_near(best_slices({1, 0.6, 0.25}), {0.5, 0.5, 0});
  expect_near(best_slices({1, 0.3, 0.25}), {0.8, 0.2, 0});
  EXPECT_EQ(blocks_of({1, 1, 1}, 10), (Blocks{3, 4, 3}));
  EXPECT_EQ(blocks_of({1, 1, 0.75}, 110), (Blocks{50, 50, 10}));
  EXPECT_EQ(blocks_of({0.75, 1, 1}, 110), (Blocks{10, 50, 50}));
  EXPECT_EQ(blocks_of({1, 0.1, 1}, 7), (Blocks{4, 0, 3}));
  EXPECT_EQ(blocks_of({1, 0.1, 1}, 1), (Blocks{1, 0, 0}));
  EXPECT_EQ(blocks_of({1, 2, 3}, 0), (Blocks{0, 0, 0}));
}

TEST(BestSlices, NothingIsGainedBetweenTwoHosts) {
  expect_near(best_slices({5}), {1});
  expect_near(best_slices({5, 1}), {0.5, 0.5});
  for (const double fraction : {0.0, 0.3, 1.0}) {
    EXPECT_EQ(exchange_seconds({5, 1}, {fraction, 1 - fraction}), 1);
  }
  EXPECT_EQ(exchange_seconds({5}, {1}), 0) << "nobody to exchange with";
}

TEST(BestSlices, RatesOfAnySize) {
  expect_near(best_slices({1e300, 1e300, 1e300, 1e-300}), {1.0 / 3, 1.0 / 3, 1.0 / 3, 0});
  expect_near(best_slices({1e-300, 1e-300, 1e-300}), {1.0 / 3, 1.0 / 3, 1.0 / 3});
  expect_near(best_slices({1e-300, 1e300, 1e-300}), {0, 1, 0});
}

// No move of a little from one host to another makes a shorter round.
TEST(BestSlices, NoOthersAreBetter) {
  Random random(11);
  for (int i = 0; i < 3000; ++i) {
    Doubles rates(3 + random.below(8));
    for (double& it : rates) it = 0.01 + double(random.below(1000)) / 100;
    const Doubles best = best_slices(rates);
    EXPECT_NEAR(std::accumulate(best.begin(), best.end(), 0.0), 1, 1e-9);
    EXPECT_GE(*std::min_element(best.begin(), best.end()), 0);
    const double seconds = exchange_seconds(rates, best);
    for (std::size_t from = 0; from < rates.size(); ++from) {
      for (std::size_t to = 0; to < rates.size(); ++to) {
        Doubles other = best;
        const double moved = std::min(0.01, other[from]);
        other[from] -= moved;
        other[to] += moved;
        EXPECT_GE(exchange_seconds(rates, other), seconds * (1 - 1e-9));
      }
    }
  }
}

TEST(BestSlices, AThousandHosts) {
  Random random(12);
  Doubles rates(1000, 10.0);
  for (std::size_t k = 0; k < 10; ++k) rates[k * 100] = 0.001;
  const std::uint64_t blocks = 100'003;
  const std::vector<std::uint64_t> out = blocks_of(rates, blocks);
  EXPECT_EQ(std::accumulate(out.begin(), out.end(), std::uint64_t{0}), blocks);
  for (std::size_t k = 0; k < out.size(); ++k) {
    if (k % 100 == 0) {
      EXPECT_EQ(out[k], 0U);
    } else {
      EXPECT_NEAR(double(out[k]), double(blocks) / 990, 1) << k;
    }
  }
  for (double& it : rates) it = 1 + double(random.below(1000));
  const std::vector<std::uint64_t> any = blocks_of(rates, blocks);
  EXPECT_EQ(std::accumulate(any.begin(), any.end(), std::uint64_t{0}), blocks);
}

}  // namespace
}  // namespace instep::member
