// The flag -ffp-contract=off of all our code: a * b + c rounds twice, also where the processor has
// a fused instruction for it.
#include <gtest/gtest.h>

#include <cmath>

namespace instep::reduce {
namespace {

__attribute__((target("fma"), noinline)) float product_and_sum(float a, float b, float c) {
  return a * b + c;
}

TEST(ContractionTest, AProductIsRoundedBeforeItIsAdded) {
  if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "this processor has no fused multiply-add";
  const float a = 1 + std::ldexp(1.0F, -12);
  const float c = -(1 + std::ldexp(1.0F, -11));
  EXPECT_EQ(product_and_sum(a, a, c), 0.0F);
  EXPECT_EQ(std::fma(a, a, c), std::ldexp(1.0F, -24));
}

}  // namespace
}  // namespace instep::reduce
