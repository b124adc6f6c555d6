// `instep eval` and `instep predict`: agents that only read a checkpoint, and leave nothing behind.
#include <stdlib.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "coord/launcher.h"
#include "coord/report.h"
#include "store/checkpoint.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

// A folder for logs, gone with the object.
class Scratch {
 public:
  Scratch() {
    std::error_code error;
    std::string pattern = (fs::temp_directory_path(error) / "instep-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return;
    path_ = pattern;
    fs::create_directory(path_ / "logs", error);
  }
  ~Scratch() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Result<coord::LaunchPlan> plan_from(const Options& options, const Scratch& scratch) {
  if (scratch.path().empty()) {
    return Error{ErrorKind::kInternal, "no temporary folder can be made; set TMPDIR"};
  }
  INSTEP_ASSIGN_OR_RETURN(const fs::path folder, find_checkpoint(options.target));
  INSTEP_ASSIGN_OR_RETURN(const store::Found found, store::open_checkpoint(folder));
  if (!options.quiet) {
    for (const std::string& warning : found.warnings) log(LogLevel::kWarning, warning);
  }
  coord::LaunchPlan plan;
  INSTEP_ASSIGN_OR_RETURN(plan.job, job::from_json(found.manifest.job_json));
  if (plan.job->model.kind.empty()) {
    return Error{ErrorKind::kInvalid, cat(found.folder.string(),
                                          " was written by a program of its own; only that "
                                          "program knows the model and can evaluate it")};
  }
  INSTEP_ASSIGN_OR_RETURN(plan.program, agent_program());
  plan.checkpoint = found.folder.string();
  plan.run_dir = scratch.path();
  plan.records = false;
  plan.quiet = true;
  plan.pin = !options.no_pin;
  plan.start_ns = options.start_ns;
  INSTEP_RETURN_IF_ERROR(check_report(options.report));
  return plan;
}

}  // namespace

int evaluate_command(const Options& options) {
  const Scratch scratch;
  auto plan = plan_from(options, scratch);
  if (!plan.ok()) return fail(plan.error());
  plan->mode = coord::Mode::kEvaluate;
  const auto agents = agent_count(options, plan->job->threads, plan->job->shards);
  if (!agents.ok()) return fail(agents.error());
  plan->agents = *agents;
  const coord::LaunchResult result = coord::launch(*plan);
  if (result.report.empty()) {
    log(LogLevel::kError, result.message);
    return result.exit_code;
  }
  if (!options.quiet) {
    const nlohmann::json report = coord::parse_fields(result.report);
    std::printf("checkpoint %s\n", plan->checkpoint.c_str());
    for (const char* set : {"validation", "test"}) {
      const std::string words = coord::metric_words(report.value(set, nlohmann::json()));
      if (!words.empty()) std::printf("%s: %s\n", set, words.c_str());
    }
  }
  if (const Status status = write_report(options.report, result.report); !status.ok()) {
    return fail(status.error());
  }
  return result.exit_code;
}

int predict_command(const Options& options) {
  std::error_code error;
  if (!fs::exists(options.input, error)) {
    return fail({ErrorKind::kNotFound, cat("the input ", options.input, " does not exist")});
  }
  const Scratch scratch;
  auto plan = plan_from(options, scratch);
  if (!plan.ok()) return fail(plan.error());
  plan->mode = coord::Mode::kPredict;
  plan->predict_input = fs::absolute(options.input).string();
  const coord::LaunchResult result = coord::launch(*plan);
  if (result.report.empty()) log(LogLevel::kError, result.message);
  return result.exit_code;
}

}  // namespace instep::cli
