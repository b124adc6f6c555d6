// The commands behind the command line. Each prints its own errors and returns the exit code.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "coord/steering.h"
#include "job/job.h"

namespace instep::cli {

struct Options {
  std::string target;                // the job file, RUN or CHECKPOINT
  std::string input;                 // predict
  std::vector<std::string> targets;  // plot: RUNs
  std::string output;                // -o of export and plot
  std::string by = "round";          // plot
  bool log_loss = false;             // plot
  std::vector<std::string> sets;
  std::optional<std::uint32_t> agents;  // the most, where there is a least
  std::uint32_t min_agents = 1;
  std::optional<std::string> fault, chaos;  // drills of run and resume
  bool no_replace = false;
  std::string run_dir, report;
  std::string listen, join, name;     // of many hosts
  std::string address;                // agent --from-env: where the first host listens
  bool insecure = false;              // of many hosts: whoever reaches the first one may join
  std::optional<std::string> secret;  // INSTEP_SECRET
  std::string hosts, hostfile;        // run
  std::optional<std::string> rsh, remote_instep, remote_dir;
  std::optional<std::uint32_t> local;  // coordinator: agents on this host
  std::string token_ttl = "1h", orphan_timeout = "30s";
  std::optional<std::int64_t> elastic_timeout_s;  // of many hosts, where one is begun
  bool quiet = false, json = false, no_pin = false, ema = false;
  bool from_env = false;              // agent
  bool make = false;                  // token
  std::optional<std::uint32_t> uses;  // token --make: any number without
  std::optional<std::int64_t> ttl_s;  // token --make: as long as the run without
  std::optional<std::string> revoke;  // token
  std::vector<std::string> program;   // after --
  std::vector<std::string> command;   // the whole command line
  std::int64_t start_ns = 0;
};

int run_command(const Options& options);
int resume_command(const Options& options);
int coordinator_command(const Options& options);
int agent_command(const Options& options);
int evaluate_command(const Options& options);
int predict_command(const Options& options);
int export_command(const Options& options);
int inspect_command(const Options& options);
int check_command(const Options& options);
int list_command();
int stop_command(const Options& options);
int scale_command(const Options& options);
int plot_command(const Options& options);
int token_command(const Options& options);
int audit_command(const Options& options);

// What several commands need.

// Prints the error; its exit code.
int fail(const Error& error);
// Rows of cells, the first one a heading, in columns that are aligned. Control characters, which
// may be a stranger's, are not printed.
void print_table(const std::vector<std::vector<std::string>>& rows);
// INSTEP_SET, cut into sets.
std::vector<std::string> environment_sets();
// The job file that PATH names: itself, or the only *.toml in the folder.
Result<std::filesystem::path> job_file(const std::string& path);
// The built-in agent beside this program.
Result<std::filesystem::path> agent_program();
// -n, or as many as the machine has room for. An Error beyond what a host can hold.
Result<std::uint32_t> agent_count(const Options& options, std::int64_t threads,
                                  std::int64_t shards);
// Whether the report can be written, found out before a run is spent on it; and the writing.
Status check_report(const std::string& path);
Status write_report(const std::string& path, const std::string& report);
// What is said before a job is run, and lets it go on. `hosted`: on one of several hosts.
std::vector<std::string> job_warnings(const job::Job& job, bool hosted);
// A RUN or CHECKPOINT as a folder.
Result<std::filesystem::path> find_checkpoint(const std::string& target);

// "4" or "2:6", the least and the most agents of a run; a number alone is the most, and the least
// is 1.
struct AgentRange {
  std::uint32_t least = 1, most = 1;
};
Result<AgentRange> parse_agents(const std::string& text);
// --fault and --chaos as the launcher's hook; none without them.
Result<coord::Drill> plan_drill(const Options& options);

struct Memory {
  double state = 0;      // parameters, combined results and optimizer state, once a host
  double per_agent = 0;  // gradients, activations
  double total(std::uint32_t agents) const { return state + per_agent * agents; }
};
// Of the job's model, in bytes; zeros where a program brings its own.
Memory memory_of(const job::Job& job);
// Elements of the model alone.
std::int64_t model_parameters(const job::Job& job);

}  // namespace instep::cli
