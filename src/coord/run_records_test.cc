#include "coord/run_records.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/testing_folder.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

class RunRecordsTest : public FolderTest {
 protected:
  void SetUp() override { write("run.json", "{}"); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  RunRecords read(By by) {
    auto records = read_records(folder_, by);
    EXPECT_TRUE(records.ok()) << records.error().message;
    return records.take();
  }
};

using Points = std::vector<Point>;

constexpr const char* kMetrics =
    R"({"record":"begin","at_s":0.1,"agents":2}
{"record":"rounds","at_s":1,"round":10,"data_epoch":0.5,"loss":3,"samples_per_s":100}
{"record":"rounds","at_s":2,"round":20,"data_epoch":1,"loss":2,"samples_per_s":110}
{"record":"epoch","at_s":2,"round":20,"data_epoch":1,"train_loss":2.5,"samples_per_s":105,"validation":null,"test":{"loss":2.2,"accuracy":0.5}}
{"record":"rounds","at_s":3,"round":30,"data_epoch":1.5,"loss":null,"samples_per_s":120}
{"record":"begin","at_s":0.2,"agents":3}
{"record":"rounds","at_s":4,"round":25,"data_epoch":1.25,"loss":1.5,"samples_per_s":90}
{"record":"epoch","at_s":5,"round":40,"data_epoch":2,"train_loss":1,"samples_per_s":95,"test":{"loss":1.1,"accuracy":0.75}}
)";
constexpr const char* kEvents =
    R"({"record":"begin","at_s":0.1}
{"record":"view","at_s":0.5,"epoch":"1.0","first_round":0,"members":[0,1],"spares":[]}
{"record":"event","at_s":1.5,"round":12,"kind":"skipped","agent":-1,"stall_ms":0,"reason":"NaN"}
{"record":"stop","at_s":3.4,"reason":"interrupt"}
{"record":"checkpoint","at_s":3.45,"round":28,"path":"x","seconds":1,"bytes":2}
{"record":"checkpoint","at_s":3.5,"round":30,"path":"x","seconds":1,"bytes":2}
{"record":"begin","at_s":0.2}
{"record":"view","at_s":0.6,"epoch":"1.0","first_round":20,"members":[0,1,2],"spares":[]}
{"record":"view","at_s":0.9,"epoch":"1.1","first_round":22,"members":[0,1],"spares":[]}
)";

TEST_F(RunRecordsTest, AResumedRunIsOneCurveByRoundsAndAnotherByTime) {
  write("metrics.jsonl", kMetrics);
  write("events.jsonl", kEvents);
  const RunRecords rounds = read(By::kRound);
  EXPECT_EQ(rounds.loss.points(), (Points{{10, 3}, {20, 2}, {25, 1.5}}));
  EXPECT_EQ(rounds.throughput.points(), (Points{{10, 100}, {20, 110}, {25, 90}}));
  EXPECT_EQ(rounds.metrics.at("accuracy").at("test").points(), (Points{{20, 0.5}, {40, 0.75}}));
  EXPECT_EQ(rounds.metrics.at("loss").at("test").points(), (Points{{20, 2.2}, {40, 1.1}}));
  EXPECT_EQ(rounds.metrics.size(), 2U);
  ASSERT_EQ(rounds.marks.size(), 3U);
  EXPECT_EQ(rounds.marks[0].kind, "skipped");
  EXPECT_EQ(rounds.marks[0].x, 12);
  EXPECT_EQ(rounds.marks[0].reason, "NaN");
  EXPECT_EQ(rounds.marks[1].kind, "resume");
  EXPECT_EQ(rounds.marks[1].x, 20);
  EXPECT_EQ(rounds.marks[1].reason, "after round 20, on 3 agents");
  EXPECT_EQ(rounds.marks[2].kind, "stop");
  EXPECT_EQ(rounds.marks[2].x, 30);
  EXPECT_EQ(rounds.marks[2].reason, "interrupt");
  EXPECT_TRUE(rounds.warnings.empty());

  const RunRecords time = read(By::kTime);
  EXPECT_EQ(time.loss.points(), (Points{{1, 3}, {2, 2}, {7.5, 1.5}}));  // the first took 3.5 s
  EXPECT_EQ(time.marks[2].kind, "resume");
  EXPECT_DOUBLE_EQ(time.marks[2].x, 4.1);
  const RunRecords epochs = read(By::kEpoch);
  EXPECT_EQ(epochs.loss.points().back(), (Point{1.25, 1.5}));
  EXPECT_DOUBLE_EQ(epochs.marks[1].x, 1);
}

TEST_F(RunRecordsTest, AShortRunHasItsEpochs) {
  write(
      "metrics.jsonl",
      R"({"record":"epoch","at_s":1,"round":5,"data_epoch":1,"train_loss":2,"samples_per_s":9,"metrics":{"own":4,"text":"x"}}
)");
  const RunRecords records = read(By::kRound);
  EXPECT_EQ(records.loss.points(), (Points{{5, 2}}));
  EXPECT_EQ(records.metrics.at("own").at("").points(), (Points{{5, 4}}));
  EXPECT_EQ(records.metrics.size(), 1U);
}

TEST_F(RunRecordsTest, DamagedLinesAreCountedAndPassedOver) {
  write("metrics.jsonl", std::string(R"({"record":"rounds","at_s":1,"round":1,"loss":3}
not json
[1,2]
{"record":7,"at_s":2}
{"at_s":"x","record":"rounds"}
{"record":"rounds","at_s":2,"round":2,"loss":2}
{"record":"rounds","at_s":3,"round":{},"loss":[],"samples_per_s":"fast"}
{"record":"epoch","at_s":3,"validation":7,"test":[1],"train_loss":null}
)") + std::string(200'000, '{') +
                             "\n" + R"({"record":"rounds","at_s":4,"round":3,"los)");
  const RunRecords records = read(By::kRound);
  EXPECT_EQ(records.loss.points(), (Points{{1, 3}, {2, 2}}));
  ASSERT_EQ(records.warnings.size(), 1U);
  EXPECT_NE(records.warnings[0].find("metrics.jsonl:2: this and "), std::string::npos)
      << records.warnings[0];
  write("metrics.jsonl", R"({"record":"rounds","at_s":4,"round":3,"los)");
  EXPECT_NE(read(By::kRound).warnings.at(0).find("metrics.jsonl:1: this line"), std::string::npos);
}

TEST_F(RunRecordsTest, WhatIsNoRunIsSaid) {
  EXPECT_TRUE(read(By::kRound).empty());  // it has not got so far
  ASSERT_EQ(::mkfifo((folder_ / "metrics.jsonl").c_str(), 0600), 0);
  EXPECT_FALSE(read_records(folder_, By::kRound).ok());  // and nobody waits for a writer
  fs::remove(folder_ / "metrics.jsonl");
  fs::create_directory(folder_ / "metrics.jsonl");
  EXPECT_FALSE(read_records(folder_, By::kRound).ok());
  fs::remove(folder_ / "metrics.jsonl");
  fs::remove(folder_ / "run.json");
  const auto none = read_records(folder_, By::kRound);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, ErrorKind::kNotFound);
}

TEST_F(RunRecordsTest, AFloodOfEventsAndMetricsIsBounded) {
  std::string events;
  std::string metrics;
  for (int i = 0; i < 5000; ++i) {
    events += R"({"record":"event","at_s":1,"round":)" + std::to_string(i) +
              R"(,"kind":"skipped"})" + "\n";
    metrics += R"({"record":"epoch","at_s":1,"round":1,"test":{"m)" + std::to_string(i) +
               R"(":1}})" + "\n";
  }
  write("events.jsonl", events);
  write("metrics.jsonl", metrics);
  const RunRecords records = read(By::kRound);
  EXPECT_EQ(records.marks.size() + records.marks_left_out, 5000U);
  EXPECT_LE(records.marks.size(), 2000U);
  EXPECT_EQ(records.metrics.size(), 16U);
  EXPECT_EQ(records.warnings.size(), 1U);
}

}  // namespace
}  // namespace instep::coord
