#include "coord/pace.h"

#include <gtest/gtest.h>

#include "base/time.h"

namespace instep::coord {
namespace {

TEST(Rate, FollowsAndSmooths) {
  Rate rate;
  EXPECT_EQ(rate.update(0, 0), 0);
  EXPECT_EQ(rate.update(70, kSecond), 0);  // where it begins: a resumed run's round is no speed
  EXPECT_DOUBLE_EQ(rate.update(170, 2 * kSecond), 100);
  const double faster = rate.update(370, 3 * kSecond);
  EXPECT_GT(faster, 100);
  EXPECT_LT(faster, 200);
  EXPECT_DOUBLE_EQ(rate.seconds_seen(), 2);
  EXPECT_EQ(rate.update(370, 4 * kSecond), faster);  // rounds come a second apart: nothing is late
  const double late = rate.update(370, 6 * kSecond);
  EXPECT_LT(late, faster);
  EXPECT_LT(rate.update(370, 60 * kSecond), late / 10);  // it hangs
  EXPECT_GE(rate.update(200, 61 * kSecond), 0);          // a total that falls is no negative rate
}

TEST(Share, IsWhatWasNotWaited) {
  Share share;
  EXPECT_FALSE(share.update(0, 0, 0));
  EXPECT_FALSE(share.update(1, 5, kSecond));  // how long it waited for the others to start
  EXPECT_DOUBLE_EQ(*share.update(2, 5.25, 2 * kSecond), 0.75);
  EXPECT_DOUBLE_EQ(*share.update(2, 9, 3 * kSecond), 0.75);  // within a round nothing is known
  EXPECT_DOUBLE_EQ(*share.update(3, 99, 4 * kSecond), 0);
}

// 10 rounds a second, 100 rounds and an evaluation of 5 s an epoch, looked at 5 times a second.
TEST(Pace, TheTimeLeftCountsEvaluationsAndComesTrue) {
  Pace pace;
  pace.plan(4, true);
  constexpr double kEpochs = 4;
  const auto seconds = [](double s) { return static_cast<std::int64_t>(s * 1e9); };
  const double all = kEpochs * 15;
  double told = 0;
  for (int tick = 0; tick < int(all * 5); ++tick) {
    const double now = tick / 5.0;
    const int epoch = int(now / 15);
    const double within = now - 15 * epoch;
    if (epoch > told) pace.epoch_ended(told = epoch, 5);
    const auto round = static_cast<std::uint64_t>(100 * epoch + std::min(100.0, 10 * within));
    pace.look(round, 400, 64 * round, within >= 10, seconds(now));
    const auto left = pace.seconds_left(seconds(now));
    if (now < 2) {
      EXPECT_FALSE(left) << "it cannot know yet";
    }
    if (now > 4) {
      EXPECT_NEAR(pace.samples_per_s(), 640, 40) << "an evaluation is no training, at " << now;
    }
    EXPECT_EQ(pace.without_evaluations(), epoch == 0);
    if (epoch > 0 && round < 400) {
      ASSERT_TRUE(left);
      EXPECT_NEAR(*left, all - now, 1) << "at " << now;
    } else if (epoch == 0 && left) {
      EXPECT_NEAR(*left, 40 - double(round) / 10, 1);
    }
  }
}

TEST(Pace, AProgramWithoutAPlanHasNoTimeLeft) {
  Pace pace;
  for (int i = 0; i < 100; ++i) pace.look(i, 0, i, false, i * kSecond);
  EXPECT_FALSE(pace.seconds_left(100 * kSecond));
  EXPECT_NEAR(pace.samples_per_s(), 1, 1e-9);
}

// In a pipe nobody looks while epochs are short: what the lines of epochs say has to do.
TEST(Pace, EpochsAloneTellTheTimeLeft) {
  Pace pace;
  pace.plan(100, true);
  for (int epoch = 1; epoch <= 10; ++epoch) {
    const std::int64_t now = 4 * epoch * kSecond;
    pace.epoch_ended(epoch, 1);
    pace.rounds_done(30U * unsigned(epoch), now);
    pace.rounds_planned(3000);
    if (epoch > 1) {
      ASSERT_TRUE(pace.seconds_left(now));
      EXPECT_NEAR(*pace.seconds_left(now), 4 * (100 - epoch), 1);
    }
  }
}

TEST(Words, About) {
  EXPECT_EQ(about(0), "a few seconds");
  EXPECT_EQ(about(42), "about 40 s");
  EXPECT_EQ(about(75), "about 75 s");
  EXPECT_EQ(about(98), "about 2 min");
  EXPECT_EQ(about(185), "about 3 min");
  EXPECT_EQ(about(2.4 * 3600), "about 2.5 h");
  EXPECT_EQ(about(30 * 3600), "about 30 h");
  EXPECT_EQ(about(3 * 86400.0), "about 3 days");
  EXPECT_EQ(about(1e300), "years");
}

}  // namespace
}  // namespace instep::coord
