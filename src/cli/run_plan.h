// The plans of runs, checked as far as can be without a directory or an agent.
#pragma once

#include <filesystem>
#include <string>

#include "cli/commands.h"
#include "coord/launcher.h"
#include "coord/run_dir.h"

namespace instep::cli {

// The job file of a command as text, and where it stands.
struct JobText {
  std::string text;
  std::filesystem::path file;
};
Result<JobText> read_job(const std::string& target);

Result<coord::LaunchPlan> plan_run(const Options& options, const JobText& job_text);
// A new run's directory: where --run-dir says, else by the name and the time.
Result<coord::RunDir> create_run_dir(const Options& options, const std::string& name);
// The memory that so many agents of the job need on this host.
Status check_memory(const job::Job& job, std::uint32_t agents);

}  // namespace instep::cli
