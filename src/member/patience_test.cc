#include "member/patience.h"

#include <gtest/gtest.h>

namespace instep::member {
namespace {

TEST(Patience, IsOverWhenItsTimeIs) {
  Patience patience(10, 3, 100);
  for (const Nanoseconds now : {100, 103, 106, 109}) EXPECT_FALSE(patience.over(now)) << now;
  EXPECT_TRUE(patience.over(110));
  EXPECT_TRUE(patience.over(113));
}

// The first host stood still while another one's link to it was broken. As soon as it went on it
// lost that host, which was at its door.
TEST(Patience, OnesOwnGapIsNobodysFault) {
  Patience patience(10, 3, 100);
  EXPECT_FALSE(patience.over(103));
  EXPECT_FALSE(patience.over(150));
  for (const Nanoseconds now : {153, 156, 159}) EXPECT_FALSE(patience.over(now)) << now;
  EXPECT_TRUE(patience.over(160));
}

}  // namespace
}  // namespace instep::member
