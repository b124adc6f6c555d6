#include "coord/comeback.h"

#include <gtest/gtest.h>

#include "base/time.h"

namespace instep::coord {
namespace {

TEST(Comeback, PausesDoubleUntilItIsGivenUp) {
  Comeback it;
  std::int64_t now = 5 * kSecond;
  for (const std::int64_t pause : {0, 1, 2, 4, 8, 16, 32, 64}) {
    const auto again = it.failed(now);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, now + pause * kSecond);
    now = *again;
  }
  EXPECT_FALSE(it.failed(now));
}

TEST(Comeback, WhatEndsSoonAfterItHasBegunToWorkFailsInARow) {
  Comeback it;
  for (std::uint32_t k = 0; k < Comeback::kMostInARow; ++k) {
    it.works(k * Comeback::kLastingNs);
    ASSERT_TRUE(it.failed((k + 1) * Comeback::kLastingNs - 1));
  }
  it.works(0);
  EXPECT_FALSE(it.failed(Comeback::kLastingNs - 1));
}

TEST(Comeback, WhatHasLastedBeginsAnew) {
  Comeback it;
  for (std::uint32_t k = 0; k < Comeback::kMostInARow; ++k) ASSERT_TRUE(it.failed(0));
  it.works(0);
  EXPECT_EQ(it.failed(Comeback::kLastingNs), Comeback::kLastingNs);
  // A start that never came to work says nothing of the time that it took.
  EXPECT_EQ(it.failed(2 * Comeback::kLastingNs), 2 * Comeback::kLastingNs + kSecond);
}

}  // namespace
}  // namespace instep::coord
