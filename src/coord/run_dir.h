// The directory of a run, RUN: what is in it, who holds it, and the list of runs that `instep ls`
// knows.
//
//   job.json             the resolved job
//   job.toml             the job file as it was, if there was one
//   run.json             RunInfo below
//   report.json          the report, when the run has ended well
//   metrics.jsonl        a line a record; events.jsonl likewise
//   logs/                launcher.log, agent-K.log, coordinator.log
//   checkpoints/         see store/checkpoint.h
//   files/               of several hosts: see coord/job_files.h
//   coordinator.journal  see coord/journal.h
//   hub.json             of several hosts: see coord/hub_info.h; tokens.json is its book of tokens
//   audit.jsonl          of several hosts: see coord/audit.h
//   lock                 held (flock) by the living launcher
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::coord {

// RUN/run.json.
struct RunInfo {
  std::string name;     // of the directory
  std::string job;      // the job's name, or the program's
  std::string state;    // "running", "finished", "stopped" or "failed"
  std::string started;  // local time, "2025-01-31 12:00:00"
  std::string ended;
  std::string message;  // why it stopped or failed
  std::string version;
  std::vector<std::string> command;  // as it was typed
  std::vector<std::string> program;  // an own program and its arguments; empty: the built-in agent
  std::int64_t pid = 0;
  std::uint32_t agents = 0;
};

class RunDir {
 public:
  // Makes and locks `wanted`, or runs/NAME-YYYYMMDD-HHMMSS[-k] under the working directory. kTaken
  // if it is not empty or held.
  static Result<RunDir> create(const std::optional<std::filesystem::path>& wanted,
                               const std::string& job_name);
  // Locks the directory of an earlier run to go on in it. Agents whose launcher was killed may
  // still be saving: they are waited for. kTaken if a launcher holds it.
  static Result<RunDir> reopen(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }  // absolute
  int lock() const { return lock_.get(); }                     // LaunchPlan::lock
  std::filesystem::path agent_log(std::uint32_t agent) const;
  // A small file of it, whole or not at all as long as the machine runs. Not synced to disk: agents
  // wait for the launcher, and what is lost with the machine is no loss.
  Status write(const std::string& name, std::string_view content) const;
  Status write_info(const RunInfo& info) const;
  // Puts it on the list of `instep ls`. A list that cannot be written is no reason not to run.
  void enlist() const;
  // Removes what this run has made, if it began with nothing: a run that failed before its first
  // round leaves no litter. False, and nothing is removed, for one that goes on with an earlier
  // run.
  bool discard();

 private:
  RunDir(std::filesystem::path path, Fd lock, bool fresh, bool made)
      : path_(std::move(path)), lock_(std::move(lock)), fresh_(fresh), made_(made) {}
  static Result<RunDir> take(std::filesystem::path path, bool fresh, bool made);

  std::filesystem::path path_;
  Fd lock_;
  bool fresh_ = false;  // it was empty
  bool made_ = false;   // it was not there
};

Result<RunInfo> read_info(const std::filesystem::path& run_dir);
// Whether a launcher, or an agent that has lost its launcher, holds the run.
bool is_held(const std::filesystem::path& run_dir);

// The runs on the list, newest first. Entries whose directory is gone are removed.
std::vector<std::filesystem::path> list_runs();
// A RUN as people name it: a directory, or a name on the list. kNotFound with the nearest name.
Result<std::filesystem::path> find_run(const std::string& name);

// "2025-01-31 12:00:00", local time, now.
std::string timestamp();

}  // namespace instep::coord
