#include "train/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace instep::train {
namespace {

Progress example() {
  Progress progress;
  progress.epochs = {{1, 10, 0.1 + 0.2, {{"test_accuracy", 0.9}, {"validation_loss", 1.0 / 3}}},
                     {2, 20, 0.25, {{"test_accuracy", 0.8}}}};
  progress.loss_sum = 1e300;
  progress.loss_samples = 7;
  progress.samples = {20, 19, 1, 2};
  return progress;
}

TEST(ProgressTest, SurvivesItsTextBitForBit) {
  const Progress before = example();
  const auto after = progress_from_json(to_json(before));
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(to_json(*after), to_json(before));
  EXPECT_EQ(after->epochs[0].train_loss, before.epochs[0].train_loss);
  EXPECT_EQ(after->samples.repeated, 2U);
  for (const char* broken : {"", "{", "[]", "{\"epochs\":1}"}) {
    EXPECT_FALSE(progress_from_json(broken).ok());
  }
}

TEST(ProgressTest, KeepsWhatIsNotFinite) {
  Progress before = example();
  before.epochs[1].train_loss = std::nan("");
  before.epochs[0].metrics["test_loss"] = -HUGE_VAL;
  before.epochs[0].lr_factor = 0.25;
  before.loss_sum = HUGE_VAL;
  const auto after = progress_from_json(to_json(before));
  ASSERT_TRUE(after.ok());
  EXPECT_TRUE(std::isnan(after->epochs[1].train_loss));
  EXPECT_EQ(after->epochs[0].metrics.at("test_loss"), -HUGE_VAL);
  EXPECT_EQ(after->epochs[0].lr_factor, 0.25);
  EXPECT_EQ(after->epochs[1].lr_factor, 1);
  EXPECT_EQ(after->loss_sum, HUGE_VAL);
}

TEST(StopTest, StopsAtTheTargetInTheMetricsDirection) {
  job::Job job;
  job.stop.target = 0.85;
  auto epochs = example().epochs;
  EXPECT_EQ(stop_after_epoch(job, epochs), "");
  epochs[1].metrics["test_accuracy"] = 0.85;
  EXPECT_NE(stop_after_epoch(job, epochs), "");
  job.stop.metric = "loss";
  job.stop.target = 0.3;
  epochs[1].metrics["validation_loss"] = 0.4;
  EXPECT_EQ(stop_after_epoch(job, epochs), "");
  epochs[1].metrics["validation_loss"] = 0.2;
  EXPECT_NE(stop_after_epoch(job, epochs), "");
  job.stop.metric = "top-k";
  job.top_k = 3;
  job.stop.target = 0.9;
  epochs[1].metrics = {{"test_top_5", 1.0}, {"test_top_3", 0.8}};
  EXPECT_EQ(stop_after_epoch(job, epochs), "");
  epochs[1].metrics["test_top_3"] = 0.9;
  EXPECT_EQ(stop_after_epoch(job, epochs), "top_3 0.9 reached the target 0.9");
}

TEST(StopTest, PatienceCountsEpochsSinceTheBest) {
  job::Job job;
  job.stop.patience_epochs = 2;
  std::vector<EpochRecord> epochs;
  for (const double accuracy : {0.5, 0.7, 0.6}) {
    epochs.push_back({epochs.size() + 1, 0, 0, {{"test_accuracy", accuracy}}});
    EXPECT_EQ(stop_after_epoch(job, epochs), "");
  }
  epochs.push_back({4, 0, 0, {{"test_accuracy", 0.7}}});
  EXPECT_NE(stop_after_epoch(job, epochs), "");
}

TEST(StopTest, JudgedNameOutlastsEpochsThatWereNotEvaluated) {
  job::Job job;
  EXPECT_EQ(judged_name(job, {}), "test_accuracy");
  std::vector<EpochRecord> epochs = {{1, 8, 0, {{"test_loss", 0.5}, {"validation_loss", 0.6}}}, {}};
  EXPECT_EQ(judged_name(job, epochs), "test_accuracy");
  job.stop.metric = "loss";
  EXPECT_EQ(judged_name(job, epochs), "validation_loss");
}

class PlateauTest : public testing::Test {
 protected:
  PlateauTest() {
    job_.schedule.kind = job::ScheduleKind::kPlateau;
    job_.schedule.gamma = 0.5;
    job_.schedule.patience_epochs = 2;
    job_.schedule.final_factor = 0.3;
  }
  // The factor after each epoch.
  std::vector<double> factors(const std::vector<EpochRecord>& epochs) const {
    std::vector<double> out;
    for (std::size_t count = 1; count <= epochs.size(); ++count) {
      out.push_back(history_factor(job_, {epochs.begin(), epochs.begin() + std::int64_t(count)}));
    }
    return out;
  }
  job::Job job_;
};

TEST_F(PlateauTest, FallsAfterThePatienceAndNotBelowTheLeast) {
  std::vector<EpochRecord> epochs;
  for (const double accuracy : {0.5, 0.6, 0.6, std::nan(""), 0.7, 0.7, 0.1, 0.2, 0.3, 0.4, 0.8}) {
    epochs.push_back({0, 0, 0, {{"validation_accuracy", accuracy}}});
  }
  EXPECT_EQ(factors(epochs),
            (std::vector<double>{1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3}));
  job_.stop.metric = "loss";  // which falls, and here nobody measured it
  EXPECT_EQ(history_factor(job_, epochs), 0.3);
}

TEST_F(PlateauTest, JudgesTheTrainingLossWhereNothingIsMeasured) {
  std::vector<EpochRecord> epochs;
  for (const double loss : {1.0, 0.9, 0.95, 0.9, 0.8}) epochs.push_back({0, 0, loss, {}});
  EXPECT_EQ(factors(epochs), (std::vector<double>{1, 1, 1, 0.5, 0.5}));
}

TEST_F(PlateauTest, AProgramsFactorComesOnTop) {
  EXPECT_EQ(history_factor(job_, {}), 1);
  std::vector<EpochRecord> epochs = {{0, 0, 1, {}, 0.5}, {0, 0, 1, {}, 0.25}, {0, 0, 1, {}, 0.2}};
  EXPECT_EQ(factors(epochs), (std::vector<double>{0.5, 0.25, 0.1}));
  job_.schedule.kind = job::ScheduleKind::kConstant;
  EXPECT_EQ(history_factor(job_, epochs), 0.2);
}

TEST(StopTest, NormsBelowTheirBoundsStopARound) {
  job::Stop stop;
  EXPECT_EQ(stop_after_round(stop, 0, 0), "");
  stop.gradient_norm = 0.1;
  EXPECT_EQ(stop_after_round(stop, 0.2, 0), "");
  EXPECT_NE(stop_after_round(stop, 0.05, 0), "");
  stop.gradient_norm = 0;
  stop.parameter_change = 1e-3;
  EXPECT_NE(stop_after_round(stop, 0, 1e-4), "");
}

class LedgerTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kSamples = 24;
  // A row of what the sampler draws, or of other samples.
  round::ShardRow row(std::uint32_t shard, std::uint64_t round, bool wrong = false) {
    std::vector<std::uint64_t> numbers;
    sampler_.batch(shard, 0, round, numbers);
    if (wrong) numbers.front() ^= 1;
    return {shard, static_cast<std::uint32_t>(numbers.size()), 0.5, drawn_hash(numbers)};
  }
  static std::vector<std::uint64_t> all() {
    std::vector<std::uint64_t> out(kSamples);
    std::iota(out.begin(), out.end(), 0);
    return out;
  }
  data::Sampler sampler_{all(), {}, {}, 2, 8, 3};
};

TEST_F(LedgerTest, TellsMissedFromRepeated) {
  Ledger ledger;
  ledger.count(0, std::vector{row(0, 0), row(1, 0)});
  ledger.count(1, std::vector{row(0, 1)});
  ledger.count(1, std::vector{row(0, 1)});
  // Whoever shares the work, and however many: the sum is the same.
  for (std::size_t members = 1; members <= 3; ++members) {
    std::vector<std::vector<std::uint8_t>> shares;
    for (std::size_t member = 0; member < members; ++member) {
      auto share = ledger.expand(sampler_, 0, kSamples, member, members);
      ASSERT_TRUE(share.ok());
      shares.push_back(share.take());
    }
    const std::vector<std::span<const std::uint8_t>> spans(shares.begin(), shares.end());
    const SampleCounts counts = Ledger::tally(spans, 16);
    EXPECT_EQ(counts.due, 16U);
    EXPECT_EQ(counts.counted, 12U);
    EXPECT_EQ(counts.missed, 4U);
    EXPECT_EQ(counts.repeated, 4U);
  }
}

TEST_F(LedgerTest, OtherSamplesThanThePlannedOnesAreAnError) {
  Ledger ledger;
  ledger.count(0, std::vector{row(0, 0), row(1, 0, true)});
  const auto share = ledger.expand(sampler_, 0, kSamples, 0, 1);
  ASSERT_FALSE(share.ok());
  EXPECT_NE(share.error().message.find("shard 1 of round 0"), std::string::npos);
}

TEST_F(LedgerTest, AnotherTakesItOver) {
  Ledger ledger;
  const auto added = ledger.count(0, std::vector{row(0, 0), row(1, 0)});
  EXPECT_EQ(added.size(), 2U);
  Ledger other;
  ASSERT_TRUE(other.take(std::as_bytes(ledger.rows())).ok());
  EXPECT_EQ(*other.expand(sampler_, 0, kSamples, 0, 1),
            *ledger.expand(sampler_, 0, kSamples, 0, 1));
  EXPECT_FALSE(other.take(std::as_bytes(ledger.rows()).first(7)).ok());
}

}  // namespace
}  // namespace instep::train
