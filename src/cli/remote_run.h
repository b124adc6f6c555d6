// --hosts of `instep run` and `instep resume`: begins a run of many hosts here, or goes on with
// one, and has the others join it by ssh.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/host_list.h"
#include "cli/run_plan.h"

namespace instep::cli {

bool on_hosts(const Options& options);
// An Error where flags for other hosts are given without any hosts.
Status hosts_are_meant(const Options& options);

// The hosts of the list; this machine must be one of them.
struct Places {
  ListedHost here;
  std::vector<ListedHost> others;
};
Result<Places> read_places(const Options& options);
// Where this machine alone is listed: as if none were.
Options options_alone(const Options& options, const ListedHost& here);
// From the hosts' start to their end; the exit code. `plan` is of this host; `dir`: in a directory
// that is there.
int train_on_hosts(const Options& options, const Places& places, coord::LaunchPlan plan,
                   const JobText& job_text, std::optional<coord::RunDir> dir = {},
                   const std::vector<std::string>& warnings = {});

}  // namespace instep::cli
