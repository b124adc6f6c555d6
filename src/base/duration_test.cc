#include "base/duration.h"

#include <gtest/gtest.h>

namespace instep {
namespace {

TEST(Duration, IsAWholeNumberAndAUnit) {
  EXPECT_EQ(*parse_duration("1s"), 1);
  EXPECT_EQ(*parse_duration("90s"), 90);
  EXPECT_EQ(*parse_duration("10m"), 600);
  EXPECT_EQ(*parse_duration("2h"), 7200);
  EXPECT_EQ(*parse_duration("3650d"), 3650 * 86'400LL);
}

TEST(Duration, AnythingElseIsOneClearError) {
  for (const char* text :
       {"", "s", "10", "0s", "-1s", "+1s", "1.5h", "1 h", " 1h", "1h ", "1H", "1w", "1ms", "3651d",
        "99999999999999999999s", "9223372036854775807d", "0x1s"}) {
    const auto read = parse_duration(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::kInvalid);
    EXPECT_NE(read.error().message.find("90s, 10m, 2h or 1d"), std::string::npos);
  }
  EXPECT_NE(parse_duration("\x1b[2J").error().message.find("found '?[2J'"), std::string::npos);
}

}  // namespace
}  // namespace instep
