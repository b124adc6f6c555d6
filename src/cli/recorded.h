// What all runs have in common: from a plan and a run directory to the end, with what is kept and
// said of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "coord/launcher.h"
#include "coord/run_dir.h"

namespace instep::cli {

class Recorded {
 public:
  Recorded(const Options& options, coord::LaunchPlan plan, coord::RunDir dir);

  // Returns the exit code. `warnings` are said once there is a log to keep them. `when_over` is
  // called when the launcher has ended, before the directory is left as it is, or removed.
  int run(const std::string& job_toml, const std::vector<std::string>& warnings = {},
          const std::function<void()>& when_over = {});

 private:
  Status begin(const std::string& job_toml, const std::vector<std::string>& warnings);
  Status write_job(const std::string& json) { return dir_.write("job.json", json + "\n"); }
  int end(const coord::LaunchResult& result);
  std::string name() const;
  bool has_checkpoint() const;
  void say(const std::string& report);

  const Options& options_;
  coord::LaunchPlan plan_;
  coord::RunDir dir_;
  coord::RunInfo info_;
};

}  // namespace instep::cli
