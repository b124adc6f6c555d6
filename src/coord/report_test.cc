#include "coord/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace instep::coord {
namespace {

using Json = nlohmann::json;

ReportParts parts(const Json& events) {
  ReportParts out;
  out.job_json = R"({"name":"j","model":{"kind":"mlp"}})";
  out.job_hash = "jh";
  out.fingerprint = {{"program", "b1"}, {"libtorch", "2.0"}};
  out.trained_by = {3, 7};
  out.shards = 8;
  out.agent_reports = {
      R"({"rounds":10,"data_epochs":2,"parameters_sha256":"ph","state_sha256":"sh",
          "samples":{"due":10,"counted":10,"missed":0,"repeated":0},
          "train":{"loss":[0.5,0.25],"samples_per_s":1000},"test":{"loss":0.1,"accuracy":0.97},
          "libtorch":"2.13.0","first_round_ns":1500000000,"train_seconds":3.5,"stopped":"",
          "checkpoint":"/r/checkpoints/round-0000000010","bytes":{"sent":5,"received":7},
          "wait_seconds":0.25,"data_wait_ms":12.5})",
      R"({"bytes":{"sent":50,"received":70},"wait_seconds":0.5})"};
  out.events = events;
  out.start_ns = 1'000'000'000;
  out.end_ns = 6'000'000'000;
  out.run_dir = "/r";
  return out;
}

TEST(Report, HasEveryDocumentedField) {
  Json events = Json::array({{{"kind", "stall"}}});
  const Json report = merge_report(parts(events));
  EXPECT_EQ(report["version"], 1);
  EXPECT_EQ(report["job"]["name"], "j");
  EXPECT_EQ(report["job_hash"], "jh");
  EXPECT_EQ(report["build"], "b1");
  EXPECT_EQ(report["libtorch"], "2.13.0");
  EXPECT_EQ(report["hosts"], 3);
  EXPECT_EQ(report["agents"], 7);
  EXPECT_EQ(report["shards"], 8);
  EXPECT_EQ(report["rounds"], 10);
  EXPECT_EQ(report["parameters_sha256"], "ph");
  EXPECT_EQ(report["state_sha256"], "sh");
  EXPECT_EQ(report["samples"]["due"], 10);
  EXPECT_EQ(report["train"]["loss"], Json::array({0.5, 0.25}));
  EXPECT_TRUE(report["validation"].is_null());
  EXPECT_EQ(report["test"]["accuracy"], 0.97);
  EXPECT_DOUBLE_EQ(report["seconds"]["start"], 0.5);
  EXPECT_DOUBLE_EQ(report["seconds"]["train"], 3.5);
  EXPECT_DOUBLE_EQ(report["seconds"]["total"], 5.0);
  EXPECT_EQ(report["bytes"]["sent"], 55);
  EXPECT_EQ(report["bytes"]["received"], 77);
  EXPECT_EQ(report["wait_seconds"], Json::array({0.25, 0.5}));
  EXPECT_EQ(report["data_wait_ms"], 12.5);
  EXPECT_EQ(report["events"].size(), 1U);
  EXPECT_EQ(report["stopped"], "");
  EXPECT_EQ(report["run_dir"], "/r");
  EXPECT_EQ(report["checkpoint"], "/r/checkpoints/round-0000000010");
  ReportParts evaluated = parts(events);
  evaluated.agent_reports[0] = "{}";
  evaluated.checkpoint = "/c";
  EXPECT_EQ(merge_report(evaluated)["checkpoint"], "/c");
  for (const char* key : {"instep", "cpu", "data_epochs", "checkpoint"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
}

TEST(Report, WhoStoppedItIsSaid) {
  Json events = Json::array();
  ReportParts stopped = parts(events);
  stopped.stopped = "interrupt";
  EXPECT_EQ(merge_report(stopped)["stopped"], "interrupt");
  stopped.agent_reports[0] = R"({"stopped":"target accuracy reached"})";
  EXPECT_EQ(merge_report(stopped)["stopped"], "target accuracy reached");
}

TEST(Report, AgentsMaySayAnything) {
  Json events = Json::array();
  for (const char* text : {"", "[1]", "{", "7", R"({"bytes":3,"first_round_ns":"x","train":[]})",
                           R"({"bytes":{"sent":"a"},"seconds":null,"stopped":5})"}) {
    ReportParts odd = parts(events);
    odd.agent_reports = {text};
    odd.job_json = text;
    const Json report = merge_report(odd);
    EXPECT_EQ(report["bytes"]["sent"], 0);
    EXPECT_FALSE(summary(report, "r").empty());
    const Json fields = parse_fields(text);
    EXPECT_FALSE(epoch_words(fields, 0).empty());
    EXPECT_FALSE(event_words(fields).empty());
    EXPECT_FALSE(checkpoint_words(fields).empty());
  }
  EXPECT_NO_THROW(to_line(Json{{"x", "\xff"}}));
}

TEST(Words, MetricsFitALine) {
  EXPECT_EQ(metric_words(Json{{"auc", 0.98765}, {"accuracy", 0.9}, {"loss", 0.25}, {"top_5", 1}}),
            "loss 0.25, accuracy 0.9, auc 0.9877, top_5 1");
  EXPECT_EQ(metric_words(Json{{"loss", nullptr}, {"mae", "x"}}), "");
  Json many;
  for (int i = 0; i < 100; ++i) many["metric" + std::to_string(i)] = i;
  EXPECT_LT(metric_words(many).size(), 130U);
  EXPECT_TRUE(metric_words(many).ends_with(", …"));
  EXPECT_EQ(metric_words(Json{{"a\nb\x1b", 1}}), "a?b? 1");
  EXPECT_EQ(metric_words(Json{{std::string(1000, 'x'), 1}}), "…");
}

TEST(Words, Lines) {
  EXPECT_EQ(epoch_words(parse_fields(R"({"data_epoch":1,"round":938,"train_loss":0.41234,
                        "validation":{"loss":0.2,"accuracy":0.93},"samples_per_s":20000,
                        "seconds":3.25})"),
                        10),
            "epoch 1/10  round 938  train loss 0.4123  validation loss 0.2, accuracy 0.93  20,000 "
            "samples/s  3.25 s");
  EXPECT_EQ(event_words(parse_fields(
                R"({"round":7,"kind":"skipped","agent":1,"stall_ms":2.5,"reason":"NaN"})")),
            "event in round 7: skipped, agent 1, 2.5 ms lost: NaN");
  EXPECT_EQ(checkpoint_words(parse_fields(R"({"round":5,"path":"p","bytes":2048,"seconds":0.5})")),
            "checkpoint of round 5: p (2 KiB, 0.5 s)");
  Json events = Json::array();
  const auto lines = summary(merge_report(parts(events)), "r");
  EXPECT_EQ(lines[0], "done: 2 epochs, 10 rounds in 5 s (3.5 s of training, 1,000 samples/s)");
  EXPECT_EQ(lines[1], "  test: loss 0.1, accuracy 0.97");
  EXPECT_EQ(lines.size(), 6U);
}

TEST(Report, SummaryAdvisesWhatTheRunCanDo) {
  const auto advice = [](const char* model, const char* resumable) {
    std::string out;
    Json report = merge_report(parts(Json::array()));
    report["job"] = {{"model", {{"kind", model}}}};
    report["resumable"] = Json::parse(resumable);
    for (const std::string& line : summary(report, "r")) out += line + "\n";
    return out;
  };
  EXPECT_NE(advice("mlp", "true").find("instep eval"), std::string::npos);
  EXPECT_EQ(advice("", "true").find("instep eval"), std::string::npos);
  EXPECT_NE(advice("", "true").find("instep resume"), std::string::npos);
  EXPECT_EQ(advice("", "false").find("instep resume"), std::string::npos);
}

}  // namespace
}  // namespace instep::coord
