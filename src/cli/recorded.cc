#include "cli/recorded.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "coord/report.h"
#include "store/checkpoint.h"

namespace instep::cli {
namespace fs = std::filesystem;

Recorded::Recorded(const Options& options, coord::LaunchPlan plan, coord::RunDir dir)
    : options_(options), plan_(std::move(plan)), dir_(std::move(dir)) {
  plan_.run_dir = dir_.path();
  plan_.lock = dir_.lock();
  plan_.quiet = options.quiet;
  plan_.pin = !options.no_pin;
  plan_.start_ns = options.start_ns;
}

int Recorded::run(const std::string& job_toml, const std::vector<std::string>& warnings,
                  const std::function<void()>& when_over) {
  if (const Status status = begin(job_toml, warnings); !status.ok()) {
    const int code = fail(status.error());
    if (when_over) when_over();
    dir_.discard();
    return code;
  }
  const coord::LaunchResult result = coord::launch(plan_);
  if (when_over) when_over();
  return end(result);
}

Status Recorded::begin(const std::string& job_toml, const std::vector<std::string>& warnings) {
  INSTEP_RETURN_IF_ERROR(open_log(dir_.path() / "logs" / "launcher.log", options_.quiet));
  info_.name = dir_.path().filename().string();
  info_.job = plan_.job ? plan_.job->name : fs::path(options_.program.front()).filename().string();
  info_.state = "running";
  info_.started = coord::timestamp();
  info_.version = kVersion;
  info_.command = options_.command;
  if (plan_.own_program) {
    info_.program = {plan_.program.string()};
    info_.program.insert(info_.program.end(), plan_.arguments.begin(), plan_.arguments.end());
  }
  info_.pid = ::getpid();
  info_.agents = plan_.agents;
  INSTEP_RETURN_IF_ERROR(dir_.write_info(info_));
  if (plan_.job) {
    INSTEP_RETURN_IF_ERROR(write_job(job::to_json(*plan_.job)));
  }
  if (!job_toml.empty()) {
    INSTEP_RETURN_IF_ERROR(dir_.write("job.toml", job_toml));
  }
  dir_.enlist();
  log(LogLevel::kInfo, cat("instep ", kVersion, ": ", join(options_.command, " ")));
  for (const std::string& warning : warnings) log(LogLevel::kWarning, warning);
  if (!plan_.job) return {};
  for (const std::string& warning : job_warnings(*plan_.job, plan_.hosted)) {
    log(LogLevel::kWarning, warning);
  }
  return {};
}

int Recorded::end(const coord::LaunchResult& result) {
  const bool well = !result.report.empty();
  const bool stopped = result.outcome.reason == member::Reason::kStopped ||
                       result.outcome.reason == member::Reason::kAbandoned;
  int code = result.exit_code;
  // Nothing has begun and the logs say no more than the message: no litter.
  const bool nothing = !well && !result.began && !has_checkpoint() &&
                       (code == 2 || result.outcome.reason == member::Reason::kAbandoned);
  const bool kept = !(nothing && dir_.discard());
  if (!well || code == 1) {
    const bool resumable = kept && has_checkpoint();
    log(LogLevel::kError,
        cat(result.message,
            resumable ? cat("\nto go on from its last checkpoint: instep resume ", name()) : ""));
  }
  Status status;
  const auto step = [&status](Status next) {
    if (status.ok()) status = std::move(next);
  };
  if (well) {
    if (!plan_.job) step(write_job(result.job_json));
    step(write_report(dir_.path() / "report.json", result.report));
    step(write_report(options_.report, result.report));
    say(result.report);
  }
  if (kept) {
    // On a full disk the run's last words need the room that its last checkpoint took in vain.
    step(store::remove_unfinished(dir_.path()));
    info_.state = stopped ? "stopped" : well ? "finished" : "failed";
    info_.message = result.message;
    info_.ended = coord::timestamp();
    step(dir_.write_info(info_));
  }
  if (!status.ok()) code = std::max(code, fail(status.error()));
  log(LogLevel::kInfo, cat("exit code ", code));
  return code;
}

// How to name the run in the next command.
std::string Recorded::name() const {
  std::error_code error;
  const fs::path here = fs::relative(dir_.path(), error);
  return error || here.string().starts_with("..") ? dir_.path().string() : here.string();
}

bool Recorded::has_checkpoint() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_.path() / "checkpoints", error)) {
    if (fs::exists(entry.path() / "manifest.json", error)) return true;
  }
  return false;
}

void Recorded::say(const std::string& report) {
  if (options_.quiet) return;
  for (const std::string& line : coord::summary(coord::parse_fields(report), name())) {
    std::fprintf(plan_.own_program ? stderr : stdout, "%s\n", line.c_str());
  }
  if (!options_.report.empty()) {
    std::fprintf(plan_.own_program ? stderr : stdout, "  report:     %s\n",
                 options_.report.c_str());
  }
}

}  // namespace instep::cli
