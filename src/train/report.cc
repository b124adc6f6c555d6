#include "train/report.h"

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "train/environment.h"

namespace instep::train {

using nlohmann::json;

namespace {

json set_metrics(const std::map<std::string, double>& metrics, const std::string& set) {
  json out;
  for (const auto& [name, value] : metrics) {
    if (name.rfind(set + "_", 0) == 0) out[name.substr(set.size() + 1)] = value;
  }
  return out;
}

}  // namespace

std::string report(const Engine& engine, const Loop* loop, const job::Job& job,
                   std::string_view leads) {
  const json own{{"bytes", {{"sent", engine.bytes_sent()}, {"received", engine.bytes_received()}}},
                 {"wait_seconds", engine.waited_seconds()},
                 {"spare", engine.spare()}};
  if (!leads.empty()) {
    json out = json::parse(leads, nullptr, false);
    if (!out.is_object()) return own.dump();
    out.update(own);
    return out.dump();
  }
  json out = own;
  if (engine.spare() || !engine.lead()) return out.dump();
  const std::string parameters = store::digest(engine.parameters());
  out["job"] = json::parse(job::to_json(job));
  out["job_hash"] = job::hash(job);
  out["libtorch"] = libtorch_version();
  out["threads"] = job.threads;
  out["shards"] = job.shards;
  out["rounds"] = engine.round();
  out["parameters_sha256"] = parameters;
  out["state_sha256"] = store::state_digest(parameters, store::digest(engine.optimizer_state()),
                                            engine.round(), engine.updates(), job.seed);
  if (loop == nullptr) return out.dump();
  const Progress& progress = loop->progress();
  json losses = json::array();
  for (const EpochRecord& epoch : progress.epochs) losses.push_back(epoch.train_loss);
  out["data_epochs"] = loop->data_epochs();
  out["train"] = {{"loss", losses}, {"samples_per_s", loop->samples_per_second()}};
  for (const char* set : {"validation", "test"}) {
    const json metrics = set_metrics(loop->final_metrics(), set);
    if (!metrics.is_null()) out[set] = metrics;
  }
  out["samples"] = {{"due", progress.samples.due},
                    {"counted", progress.samples.counted},
                    {"missed", progress.samples.missed},
                    {"repeated", progress.samples.repeated}};
  out["first_round_ns"] = loop->first_round_ns();
  out["train_seconds"] = loop->train_seconds();
  out["data_wait_ms"] = loop->data_wait_ms();
  out["stopped"] = loop->stopped();
  out["resumable"] = !engine.replicas_step();
  out["checkpoint"] = loop->last_checkpoint().whole ? loop->last_checkpoint().folder.string() : "";
  return out.dump();
}

}  // namespace instep::train
