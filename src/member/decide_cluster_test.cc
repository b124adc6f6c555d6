#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "base/text.h"
#include "member/testing_cluster.h"

namespace instep::member {
namespace {

Rules rules_by(Random& random) {
  Rules rules;
  rules.agents = std::uint32_t(1 + random.below(5));
  rules.min_agents = std::uint32_t(1 + random.below(rules.agents));
  rules.slots = std::uint32_t(8 + random.below(9));
  rules.patience_ceiling = 400 * kMillisecond;
  rules.start_limit = 1000 * kMillisecond;
  rules.patience_floor = 50 * kMillisecond;
  return rules;
}

using Told = std::map<std::string, int>;

// That it ended as it may, and what was told of it.
void note_end(Cluster& cluster, Told& told) {
  const Outcome& outcome = cluster.driver().state.outcome;
  // Bad luck may look like a crash loop or like starts that fail; then it is one of these.
  if (outcome.reason == Reason::kFinished) {
    EXPECT_EQ(cluster.rounds(), kRounds);
  } else if (outcome.reason != Reason::kStopped) {
    EXPECT_TRUE(outcome.reason == Reason::kKilled || outcome.reason == Reason::kCrashLoop)
        << describe(outcome);
    EXPECT_GE(cluster.faults_done, 1);
  }
  ++told[cat("outcome ", int(outcome.reason))];
  for (const auto& [kind, count] : cluster.told) told[kind] += count;
}

void expect_all(Told& told) {
  for (const char* kind : {"died", "hung", "left", "joined", "paused", "waiting", "scaled"}) {
    EXPECT_GT(told[kind], 5) << kind;
  }
  EXPECT_GT(told["outcome 1"], 450);
}

TEST(Cluster, TrainsToTheEndWhateverHappensToItsAgents) {
  Told told;
  for (std::uint64_t seed = 0; seed < 2000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed * 7 + 1);
    const Rules rules = rules_by(random);
    Cluster cluster(seed, rules);
    cluster.run(int(random.below(8)));
    note_end(cluster, told);
  }
  expect_all(told);
}

TEST(Cluster, GoesOnWithWhateverShardsItsHostIsGiven) {
  Told told;
  for (std::uint64_t seed = 0; seed < 2000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed * 7 + 1);
    Rules rules = rules_by(random);
    rules.hosted = true;
    rules.late = random.below(3) == 0;
    Cluster cluster(seed, rules);
    cluster.run(int(random.below(12)));
    note_end(cluster, told);
  }
  expect_all(told);
}

}  // namespace
}  // namespace instep::member
