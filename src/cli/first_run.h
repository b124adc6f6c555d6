// The host on which a run of many hosts begins, from its plan to its end.
#pragma once

#include "cli/commands.h"
#include "cli/run_plan.h"
#include "coord/first_host.h"
#include "coord/run_dir.h"

namespace instep::cli {

struct FirstRun {
  coord::LaunchPlan plan;
  coord::RunDir dir;
  std::unique_ptr<coord::FirstHost> host;
};
// The plan of the first host: --local agents here, -n of all hosts together.
Result<coord::LaunchPlan> plan_first(const Options& options, const JobText& job_text);
// Whether there may be so many agents here and in all.
Status agents_fit(const Options& options, const coord::LaunchPlan& plan);
// Other hosts can join from then on. `first` says where it listens and what it waits for; the rest
// is of the plan.
Result<FirstRun> open_first(const Options& options, coord::LaunchPlan plan, const JobText& job_text,
                            coord::FirstHost::Plan first);
// The same in a directory that is there.
Result<FirstRun> open_first_in(coord::RunDir dir, coord::LaunchPlan plan, const JobText& job_text,
                               coord::FirstHost::Plan first);
// What --listen, --token-ttl and -n say of it; `plan` is of this host.
Result<coord::FirstHost::Plan> read_first(const Options& options, const coord::LaunchPlan& plan);
// The line to join by, for a person.
void say_line(const Options& options, const fabric::JoinLine& line, std::uint32_t here);

}  // namespace instep::cli
