#include "base/large_floats.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace instep {
namespace {

TEST(LargeFloats, AreAsManyAsAskedFor) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{3'000'001}}) {
    const LargeFloats floats = large_floats(count);
    ASSERT_NE(floats, nullptr);
    floats[0] = 1;
    floats[count - 1] = 2;
    EXPECT_EQ(floats[count - 1], 2);
  }
}

TEST(LargeFloats, LieWhereLargePagesCan) {
  const LargeFloats floats = large_floats(3'000'001);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(floats.get()) % (2 << 20), 0U);
}

TEST(LargeFloats, NoneAreNoError) { EXPECT_NO_THROW(large_floats(0)); }

}  // namespace
}  // namespace instep
