// The report of a run, docs/report.md, put together from what the agents said when they were done;
// and the lines that a person reads about the same things.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace instep::coord {

inline constexpr int kReportVersion = 1;

// Of all hosts together, spares included.
struct TrainedBy {
  std::uint32_t hosts = 1, agents = 0;
};

struct ReportParts {
  std::string job_json, job_hash;
  std::map<std::string, std::string> fingerprint;  // of agent 0
  TrainedBy trained_by;
  std::uint32_t shards = 0;
  std::vector<std::string> agent_reports;  // Done.report; the first has the run's results
  nlohmann::json events;                   // an array
  std::int64_t start_ns = 0, end_ns = 0;   // of the launcher, CLOCK_MONOTONIC
  std::string run_dir;                     // empty: nothing is kept
  std::string checkpoint;  // begun with; the report's, unless a newer one was written
  std::string stopped;     // why the launcher stopped it, if it did
};
nlohmann::json merge_report(const ReportParts& parts);

// JSON from an agent, which may be anything: an object, else an empty object.
nlohmann::json parse_fields(std::string_view text);
// A number of such an object, or `otherwise`.
double real_field(const nlohmann::json& object, const char* key, double otherwise = 0);
// One line of a file of JSON lines, without its end.
std::string to_line(const nlohmann::json& json);

// "loss 0.07, accuracy 0.978, auc 0.99", from {"loss": …, …}: as many as a line takes; empty for
// anything else.
std::string metric_words(const nlohmann::json& metrics);
// Progress of kind "epoch", "checkpoint" and "event", in words.
std::string epoch_words(const nlohmann::json& fields, std::int64_t epochs);
std::string checkpoint_words(const nlohmann::json& fields);
std::string event_words(const nlohmann::json& fields);
// What is said at the end of a run that ended well; `run` is how to name it in the next command.
std::vector<std::string> summary(const nlohmann::json& report, const std::string& run);

}  // namespace instep::coord
