// `instep ls` and `instep stop`.
#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "cli/commands.h"
#include "coord/run_dir.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

// "running" in run.json is only true while somebody holds the run.
std::string state_of(const fs::path& run, const coord::RunInfo& info) {
  if (coord::is_held(run)) return "running";
  return info.state == "running" ? "died" : info.state;
}

}  // namespace

int list_command() {
  std::vector<std::vector<std::string>> rows = {
      {"RUN", "STATE", "AGENTS", "STARTED", "JOB", "DIRECTORY"}};
  for (const fs::path& link : coord::list_runs()) {
    const auto info = coord::read_info(link);
    if (!info.ok()) continue;
    std::error_code error;
    rows.push_back({link.filename().string(), state_of(link, *info), cat(info->agents),
                    info->started, info->job, fs::read_symlink(link, error).string()});
  }
  print_table(rows);
  return 0;
}

int stop_command(const Options& options) {
  const auto run = coord::find_run(options.target);
  if (!run.ok()) return fail(run.error());
  const auto info = coord::read_info(*run);
  if (!info.ok()) return fail(info.error());
  // The lock says that the process that wrote run.json still lives, or was killed seconds ago, so
  // that nobody else has its number.
  if (!coord::is_held(*run) || info->pid <= 0) {
    return fail(invalid(cat("the run ", run->string(), " is not running")));
  }
  if (::kill(static_cast<pid_t>(info->pid), SIGTERM) != 0) {
    if (errno == ESRCH) return fail(invalid(cat("the launcher of ", run->string(), " was killed")));
    return fail(
        {ErrorKind::kInternal, cat("cannot stop process ", info->pid, ": ", std::strerror(errno))});
  }
  if (!options.quiet) {
    std::printf("asked %s to save a checkpoint and end\n", run->string().c_str());
  }
  return 0;
}

}  // namespace instep::cli
