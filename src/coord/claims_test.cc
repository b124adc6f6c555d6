#include "coord/claims.h"

#include <gtest/gtest.h>

#include <optional>

namespace instep::coord {
namespace {

// Numbers that no machine has, so that a run beside this test does not matter.
const std::vector<int> kCpus = {90001, 90002, 90003, 90004};

TEST(CpuClaims, RunsBesideEachOtherTakeDifferentProcessors) {
  std::optional<CpuClaims> first = CpuClaims::take(kCpus, 1);
  EXPECT_EQ(first->order(), kCpus);
  const CpuClaims second = CpuClaims::take(kCpus, 2);
  EXPECT_EQ(second.order(), (std::vector<int>{90002, 90003, 90004, 90001}));
  const CpuClaims third = CpuClaims::take(kCpus, 3);  // more than are left: still all, in order
  EXPECT_EQ(third.order(), (std::vector<int>{90004, 90001, 90002, 90003}));
  first.reset();  // a run that ends gives its own back
  EXPECT_EQ(CpuClaims::take(kCpus, 1).order().front(), 90001);
}

}  // namespace
}  // namespace instep::coord
