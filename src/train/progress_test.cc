#include "train/progress.h"

#include <gtest/gtest.h>

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

TEST(StopTest, StopsAtTheTargetInTheMetricsDirection) {
  job::Stop stop;
  stop.target = 0.85;
  auto epochs = example().epochs;
  EXPECT_EQ(stop_after_epoch(stop, epochs), "");
  epochs[1].metrics["test_accuracy"] = 0.85;
  EXPECT_NE(stop_after_epoch(stop, epochs), "");
  stop.metric = "loss";
  stop.target = 0.3;
  epochs[1].metrics["validation_loss"] = 0.4;
  EXPECT_EQ(stop_after_epoch(stop, epochs), "");
  epochs[1].metrics["validation_loss"] = 0.2;
  EXPECT_NE(stop_after_epoch(stop, epochs), "");
}

TEST(StopTest, PatienceCountsEpochsSinceTheBest) {
  job::Stop stop;
  stop.patience_epochs = 2;
  std::vector<EpochRecord> epochs;
  for (const double accuracy : {0.5, 0.7, 0.6}) {
    epochs.push_back({epochs.size() + 1, 0, 0, {{"test_accuracy", accuracy}}});
    EXPECT_EQ(stop_after_epoch(stop, epochs), "");
  }
  epochs.push_back({4, 0, 0, {{"test_accuracy", 0.7}}});
  EXPECT_NE(stop_after_epoch(stop, epochs), "");
}

TEST(StopTest, JudgedNameOutlastsEpochsThatWereNotEvaluated) {
  job::Stop stop;
  EXPECT_EQ(judged_name(stop, {}), "test_accuracy");
  std::vector<EpochRecord> epochs = {{1, 8, 0, {{"test_loss", 0.5}, {"validation_loss", 0.6}}}, {}};
  EXPECT_EQ(judged_name(stop, epochs), "test_accuracy");
  stop.metric = "loss";
  EXPECT_EQ(judged_name(stop, epochs), "validation_loss");
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

TEST(LedgerTest, TellsMissedFromRepeated) {
  Ledger a(5);
  Ledger b(5);
  const std::uint64_t first[] = {0, 1};
  const std::uint64_t second[] = {1, 3};
  a.count(first);
  b.count(second);
  const SampleCounts counts = Ledger::tally({a.bytes(), b.bytes()}, 5);
  EXPECT_EQ(counts.due, 5U);
  EXPECT_EQ(counts.counted, 3U);
  EXPECT_EQ(counts.missed, 2U);
  EXPECT_EQ(counts.repeated, 1U);
}

}  // namespace
}  // namespace instep::train
