// The host on which a run of many hosts begins, from its plan to its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
// For the plan of this host: so many agents here, where -n is of all hosts together.
Options options_here(const Options& options, std::optional<std::uint32_t> agents);
Result<coord::LaunchPlan> plan_first(const Options& options, const JobText& job_text);
// Whether there may be so many agents here and in all.
Status agents_fit(const Options& options, const coord::LaunchPlan& plan);
Status agents_fit(std::uint32_t all, const job::Job& job);
// Other hosts can join from then on. `first` says where it listens and what it waits for; the rest
// is of the plan. `dir`: in a directory that is there.
Result<FirstRun> open_first(const Options& options, coord::LaunchPlan plan, const JobText& job_text,
                            coord::FirstHost::Plan first, std::optional<coord::RunDir> dir = {});
// For hosts to join when too few agents are left.
std::int64_t elastic_timeout_ns(const Options& options);
// To its end; the exit code.
int train_first(const Options& options, FirstRun run, const std::string& job_toml,
                const std::vector<std::string>& warnings);
// Where --listen, --token-ttl and -n say, from the plan of this host to the end of the run; `dir`:
// in a directory that is there. Returns the exit code.
int train_with_hosts(const Options& options, coord::LaunchPlan plan, const JobText& job_text,
                     std::optional<coord::RunDir> dir = {}, std::vector<std::string> warnings = {});

}  // namespace instep::cli
