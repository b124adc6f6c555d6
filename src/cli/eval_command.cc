// `instep eval` and `instep predict`: agents that only read a checkpoint, and leave nothing behind.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/text.h"
#include "cli/reading.h"
#include "coord/report.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

Result<coord::LaunchPlan> plan_from(const Options& options, const Scratch& scratch) {
  INSTEP_ASSIGN_OR_RETURN(const store::Found found, open_target(options));
  return plan_reading(options, found, scratch);
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
