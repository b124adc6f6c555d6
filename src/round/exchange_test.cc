// The exchange against a serial oracle, bit for bit: random shapes, members, ranges and values, all
// members' machines stepped by one thread in random order.
#include "round/exchange.h"

#include <gtest/gtest.h>

#include "round/testing_host.h"

namespace instep::round {
namespace {

void check_case(std::uint64_t seed) {
  Random random(seed);
  const Case c = make_case(random);
  Host host(c, c.agents, random.below(2) == 0 ? 0 : seed);
  host.begin();
  ASSERT_TRUE(host.run(random)) << "seed " << seed << ": " << host.error().message;
  expect_truth(c, host, seed);
  for (std::size_t m = 0; m < host.machines(); ++m) {
    ASSERT_EQ(host.outcome(m).loss, host.outcome(0).loss) << "seed " << seed;
  }
}

// A sanitizer makes a case some thirty times as slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kCases = 3000;
#else
constexpr std::uint64_t kCases = 100000;
#endif

TEST(Exchange, EqualsTheSerialOracleInAHundredThousandRandomCases) {
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFatalFailure(); ++seed) {
    check_case(seed);
  }
}

TEST(Exchange, ANonFiniteLossVoidsTheRoundAndNamesTheShard) {
  Random random(3);
  Case c = make_case(random);
  while (c.shards < 4) c = make_case(random);
  c.rows[2].loss = std::nan("");
  Host host(c, c.agents, 0);
  host.begin();
  ASSERT_TRUE(host.run(random));
  for (std::size_t m = 0; m < host.machines(); ++m) {
    EXPECT_EQ(host.outcome(m).bad_shard, 2U);
    EXPECT_FALSE(host.outcome(m).applied);
  }
  for (std::uint64_t i = 0; i < host.space().elements(); ++i)
    EXPECT_EQ(host.next()[i], host.old()[i]);
}

}  // namespace
}  // namespace instep::round
