// What run and resume do to their own agents for a drill, and `instep scale`.
#include <cstdio>

#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "coord/drill.h"
#include "coord/run_dir.h"
#include "coord/scale.h"

namespace instep::cli {

Result<coord::Drill> plan_drill(const Options& options) {
  if (!options.fault && !options.chaos) return coord::Drill();
  coord::DrillPlan plan;
  if (options.fault) {
    INSTEP_ASSIGN_OR_RETURN(plan.faults, coord::parse_faults(*options.fault));
  }
  if (options.chaos) {
    INSTEP_ASSIGN_OR_RETURN(plan.chaos, coord::parse_chaos(*options.chaos));
  }
  plan.least_wanted = options.min_agents;
  // Nobody would come back, and the run wait for ever.
  if (options.no_replace) plan.least_members = options.min_agents;
  return coord::make_drill(plan, [](const std::string& fault, bool made) {
    log(made ? LogLevel::kInfo : LogLevel::kWarning, cat("drill: ", fault));
  });
}

int scale_command(const Options& options) {
  const auto run = coord::find_run(options.target);
  if (!run.ok()) return fail(run.error());
  if (const auto info = coord::read_info(*run); !info.ok()) return fail(info.error());
  if (!coord::is_held(*run)) {
    return fail(invalid(cat("the run ", run->string(), " is not running")));
  }
  const auto scaled = coord::ask_scale(*run, *options.agents);
  if (!scaled.ok()) {
    return fail({scaled.error().kind,
                 cat("the run ", run->string(), " cannot be scaled: ", scaled.error().message)});
  }
  if (!options.quiet) {
    std::printf("%s shall have %u %s, %u before\n", run->string().c_str(), scaled->to,
                scaled->to == 1 ? "agent" : "agents", scaled->from);
  }
  return 0;
}

}  // namespace instep::cli
