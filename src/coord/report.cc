#include "coord/report.h"

#include <nlohmann/json.hpp>

#include "base/machine.h"
#include "base/text.h"
#include "base/version.h"
#include "coord/display.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMetricWords = 120;

// The field, or null.
Json field(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : Json();
}

std::int64_t whole(const Json& object, const char* key) {
  const Json value = field(object, key);
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return value.is_number() ? static_cast<std::int64_t>(value.get<double>()) : 0;
}

std::string text(const Json& object, const char* key) {
  const Json value = field(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace

double real_field(const Json& object, const char* key, double otherwise) {
  const Json value = field(object, key);
  return value.is_number() ? value.get<double>() : otherwise;
}

Json parse_fields(std::string_view text) {
  Json parsed = Json::parse(text, nullptr, false);
  return parsed.is_object() ? parsed : Json::object();
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json merge_report(const ReportParts& parts) {
  std::vector<Json> done;
  for (const std::string& report : parts.agent_reports) done.push_back(parse_fields(report));
  const Json first = done.empty() ? Json::object() : done.front();
  std::int64_t sent = 0;
  std::int64_t received = 0;
  Json waits = Json::array();
  for (const Json& report : done) {
    sent += whole(field(report, "bytes"), "sent");
    received += whole(field(report, "bytes"), "received");
    waits.push_back(real_field(report, "wait_seconds"));
  }
  const auto named = [&parts](const char* key) {
    const auto found = parts.fingerprint.find(key);
    return found == parts.fingerprint.end() ? std::string() : found->second;
  };
  const std::string libtorch = text(first, "libtorch");
  const double first_round_ns = real_field(first, "first_round_ns");
  const auto seconds_since_start = [&parts](double ns) {
    return (ns - static_cast<double>(parts.start_ns)) * 1e-9;
  };
  const std::string own_reason = text(first, "stopped");

  Json out = Json::object();
  out["version"] = kReportVersion;
  out["instep"] = kVersion;
  out["job"] = parse_fields(parts.job_json);
  out["job_hash"] = parts.job_hash;
  out["build"] =
      named("program").empty() ? cat("instep ", kVersion, ", gcc ", __VERSION__) : named("program");
  out["libtorch"] = libtorch.empty() ? named("libtorch") : libtorch;
  out["cpu"] = cpu_model();
  out["hosts"] = parts.trained_by.hosts;
  out["agents"] = parts.trained_by.agents;
  out["shards"] = parts.shards;
  for (const char* key : {"rounds", "data_epochs", "parameters_sha256", "state_sha256", "samples",
                          "train", "validation", "test"}) {
    out[key] = field(first, key);
  }
  out["seconds"] = {
      {"start", first_round_ns > 0 ? Json(seconds_since_start(first_round_ns)) : Json()},
      {"train", real_field(first, "train_seconds")},
      {"total", seconds_since_start(static_cast<double>(parts.end_ns))}};
  out["bytes"] = {{"sent", sent}, {"received", received}};
  out["wait_seconds"] = waits;
  out["data_wait_ms"] = field(first, "data_wait_ms");
  out["events"] = parts.events.is_array() ? parts.events : Json::array();
  out["stopped"] = own_reason.empty() ? parts.stopped : own_reason;
  const std::string written = text(first, "checkpoint");
  out["checkpoint"] = written.empty() ? parts.checkpoint : written;
  const Json resumable = field(first, "resumable");
  out["resumable"] = !out["checkpoint"].get<std::string>().empty() &&
                     (!resumable.is_boolean() || resumable.get<bool>());
  out["run_dir"] = parts.run_dir;
  return out;
}

std::string metric_words(const Json& metrics) {
  if (!metrics.is_object()) return "";
  std::vector<std::string> names = {"loss", "accuracy"};
  for (const auto& [name, value] : metrics.items()) {
    if (name != "loss" && name != "accuracy") names.push_back(name);
  }
  std::string words;
  for (const std::string& name : names) {
    const Json value = field(metrics, name.c_str());
    if (!value.is_number()) continue;
    std::string word = cat(words.empty() ? "" : ", ", name, " ", number(value.get<double>(), 4));
    // A program names what it measures; whatever that is, it stays one short line.
    for (char& c : word) c = c < ' ' || c > '~' ? '?' : c;
    if (words.size() + word.size() > kMetricWords) return cat(words, words.empty() ? "…" : ", …");
    words += word;
  }
  return words;
}

std::string epoch_words(const Json& fields, std::int64_t epochs) {
  std::string out = cat("epoch ", whole(fields, "data_epoch"));
  if (epochs > 0) out += cat("/", epochs);
  out += cat("  round ", whole(fields, "round"), "  train loss ",
             number(real_field(fields, "train_loss"), 4));
  for (const char* set : {"validation", "test"}) {
    const std::string words = metric_words(field(fields, set));
    if (!words.empty()) out += cat("  ", set, " ", words);
  }
  out += cat("  ", with_thousands(real_field(fields, "samples_per_s")), " samples/s  ",
             number(real_field(fields, "seconds"), 2), " s");
  return out;
}

std::string checkpoint_words(const Json& fields) {
  return cat("checkpoint of round ", whole(fields, "round"), ": ", text(fields, "path"), " (",
             human_bytes(real_field(fields, "bytes")), ", ",
             number(real_field(fields, "seconds"), 2), " s)");
}

std::string event_words(const Json& fields) {
  std::string out = cat("event in round ", whole(fields, "round"), ": ", text(fields, "kind"));
  if (field(fields, "agent").is_number()) out += cat(", agent ", whole(fields, "agent"));
  if (real_field(fields, "stall_ms") > 0) {
    out += cat(", ", number(real_field(fields, "stall_ms"), 1), " ms lost");
  }
  const std::string reason = text(fields, "reason");
  return reason.empty() ? out : cat(out, ": ", reason);
}

std::vector<std::string> summary(const Json& report, const std::string& run) {
  std::vector<std::string> out;
  const Json seconds = field(report, "seconds");
  const std::string stopped = text(report, "stopped");
  out.push_back(cat(stopped.empty() ? "done" : cat("stopped (", stopped, ")"), ": ",
                    number(real_field(report, "data_epochs"), 2), " epochs, ",
                    whole(report, "rounds"), " rounds in ", number(real_field(seconds, "total"), 2),
                    " s (", number(real_field(seconds, "train"), 2), " s of training, ",
                    with_thousands(real_field(field(report, "train"), "samples_per_s")),
                    " samples/s)"));
  for (const char* set : {"validation", "test"}) {
    const std::string words = metric_words(field(report, set));
    if (!words.empty()) out.push_back(cat("  ", set, ": ", words));
  }
  out.push_back(cat("  parameters: sha256 ", text(report, "parameters_sha256")));
  const std::string checkpoint = text(report, "checkpoint");
  if (!checkpoint.empty()) {
    out.push_back(cat("  checkpoint: ", checkpoint));
    if (!text(field(field(report, "job"), "model"), "kind").empty()) {
      out.push_back(cat("  evaluate:   instep eval ", run));
    }
    if (report["resumable"] == true) {
      out.push_back(
          cat("  go on:      instep resume ", run, stopped.empty() ? " --set epochs=…" : ""));
    }
  }
  return out;
}

}  // namespace instep::coord
