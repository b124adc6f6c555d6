#include "coord/ticks.h"

#include <gtest/gtest.h>

#include <limits>

namespace instep::coord {
namespace {

using Texts = std::vector<std::string>;

TEST(Ticks, RoundNumbersThatAPersonReads) {
  EXPECT_EQ(linear_axis(0, 1, 5, Unit::kNumber, true).labels,
            (Texts{"0", "0.2", "0.4", "0.6", "0.8", "1"}));
  EXPECT_EQ(linear_axis(0, 10, 5, Unit::kNumber, true).labels,
            (Texts{"0", "2", "4", "6", "8", "10"}));
  EXPECT_EQ(linear_axis(0, 3, 10, Unit::kWhole, false).labels, (Texts{"0", "1", "2", "3"}));
  EXPECT_EQ(linear_axis(0, 12345, 5, Unit::kWhole, false).labels, (Texts{"0", "5,000", "10,000"}));
  const Axis axis = linear_axis(0.031, 0.087, 5, Unit::kNumber, true);
  EXPECT_DOUBLE_EQ(axis.low, 0.02);
  EXPECT_DOUBLE_EQ(axis.high, 0.1);
  EXPECT_DOUBLE_EQ(axis.place(0.06), 0.5);
  EXPECT_EQ(linear_axis(-1.5, 2.5, 4, Unit::kNumber, true).labels.front(), "-2");
}

TEST(Ticks, TimesOfAClock) {
  EXPECT_EQ(linear_axis(0, 9, 5, Unit::kSeconds, false).labels,
            (Texts{"0", "2 s", "4 s", "6 s", "8 s"}));
  EXPECT_EQ(linear_axis(0, 240, 5, Unit::kSeconds, false).labels,
            (Texts{"0", "1 min", "2 min", "3 min", "4 min"}));
  EXPECT_EQ(linear_axis(0, 7200, 4, Unit::kSeconds, false).labels,
            (Texts{"0", "30 min", "1:00 h", "1:30 h", "2:00 h"}));
  EXPECT_EQ(linear_axis(0, 4 * 86400.0, 4, Unit::kSeconds, false).labels.back(), "4 d");
}

TEST(Ticks, PowersOfTen) {
  EXPECT_EQ(log_axis(0.002, 700, 5).labels, (Texts{"0.01", "0.1", "1", "10", "100"}));
  EXPECT_EQ(log_axis(0.2, 3, 5).labels, (Texts{"0.2", "0.5", "1", "2"}));
  EXPECT_GE(log_axis(2.1, 4.5, 5).labels.size(), 2U);
  EXPECT_LE(log_axis(1e-30, 1e30, 5).labels.size(), 8U);
  EXPECT_NEAR(log_axis(1, 100, 5).place(10), 0.5, 1e-12);
}

// Ranges that a curve may have: none, huge, tiny, below 0.
TEST(Ticks, EveryRangeHasAnAxis) {
  constexpr double kMax = std::numeric_limits<double>::max();
  for (const auto& [low, high] :
       {std::pair(0.0, 0.0), std::pair(5.0, 5.0), std::pair(-3.0, -3.0), std::pair(1e300, 1e300),
        std::pair(-kMax / 2, kMax / 2), std::pair(1.0, 1 + 1e-15), std::pair(1e-320, 2e-320)}) {
    for (const Unit unit : {Unit::kNumber, Unit::kWhole, Unit::kSeconds}) {
      for (const bool out : {false, true}) {
        const Axis axis = linear_axis(low, high, 5, unit, out);
        EXPECT_LT(axis.low, axis.high) << low << " " << high;
        EXPECT_LE(axis.low, low) << low;
        EXPECT_GE(axis.high, high) << high;
        EXPECT_LE(axis.ticks.size(), 101U);
        EXPECT_EQ(axis.ticks.size(), axis.labels.size());
      }
    }
  }
  EXPECT_LT(log_axis(5, 5, 5).low, 5);
}

}  // namespace
}  // namespace instep::coord
