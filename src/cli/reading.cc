#include "cli/reading.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"

namespace instep::cli {
namespace fs = std::filesystem;

Scratch::Scratch() {
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "instep-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return;
  path_ = pattern;
  fs::create_directory(path_ / "logs", error);
}

Scratch::~Scratch() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

Result<store::Found> open_target(const Options& options) {
  INSTEP_ASSIGN_OR_RETURN(const fs::path folder, find_checkpoint(options.target));
  INSTEP_ASSIGN_OR_RETURN(store::Found found, store::open_checkpoint(folder));
  if (!options.quiet) {
    for (const std::string& warning : found.warnings) log(LogLevel::kWarning, warning);
  }
  return found;
}

Result<coord::LaunchPlan> plan_reading(const Options& options, const store::Found& found,
                                       const Scratch& scratch) {
  if (scratch.path().empty()) {
    return Error{ErrorKind::kInternal, "no temporary folder can be made; set TMPDIR"};
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
  // Of a run of several hosts, beside whose checkpoints it lies.
  const fs::path run = fs::absolute(found.folder).lexically_normal().parent_path().parent_path();
  const fs::path module = coord::kept_file(run, {"model.file", 0, plan.job->model.file_sha256});
  std::error_code error;
  if (fs::exists(module, error)) plan.files["model.file"] = module.string();
  plan.run_dir = scratch.path();
  plan.records = false;
  plan.quiet = true;
  plan.pin = !options.no_pin;
  plan.start_ns = options.start_ns;
  INSTEP_RETURN_IF_ERROR(check_report(options.report));
  return plan;
}

}  // namespace instep::cli
