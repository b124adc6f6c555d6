// Runs agents until their run is over: starts them, hands out memory and data, hands on what the
// coordinator decides, shows progress, stops and ends them. A thin shell of sockets, processes,
// signals and timers; one thread in poll().
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "coord/job_files.h"
#include "coord/steering.h"
#include "job/job.h"
#include "member/decide.h"

namespace instep::coord {

class Bridge;
class Remote;

enum class Mode { kTrain, kEvaluate, kPredict, kExport };
// Whether one agent works by itself: without data of the job's and without a view.
inline bool reads_alone(Mode mode) { return mode == Mode::kPredict || mode == Mode::kExport; }

struct LaunchPlan {
  Mode mode = Mode::kTrain;
  std::uint32_t agents = 1;       // wanted
  std::uint32_t min_agents = 1;   // fewer than that wait until there are enough again
  std::uint32_t max_agents = 0;   // that may ever be wanted; 0: twice as many as now, at least 8
  bool replace = true;            // a new agent is started for one that is lost
  double patience_seconds = 60;   // the longest that an agent may show no sign of life
  Drill drill;                    // may be empty
  std::filesystem::path program;  // of an agent
  std::vector<std::string> arguments;  // its own
  // Not the built-in agent: its output is passed through, and it may do as it likes when it is
  // done.
  bool own_program = false;
  std::optional<job::Job> job;                 // none: the program says what it is when it is ready
  std::string job_toml, job_name, job_folder;  // for an own program, to resolve over its defaults
  std::vector<std::string> sets;
  std::filesystem::path run_dir;  // exists, with a folder logs/
  bool hosted = false;            // one of several hosts: rounds go through the bridge
  Bridge* bridge = nullptr;       // then, and it outlives the launch
  bool stops_together = false;    // who asks one host to stop means all of them
  Remote* remote = nullptr;       // what has started the other hosts' launchers; likewise
  // Of a hosted run's first host, which the others get the data from: it is there.
  std::function<Status(const Fd& image)> on_dataset;
  // And by what command hosts join it, for people alone: it may be a secret.
  std::function<std::string()> how_to_join;
  int lock = -1;        // descriptor of the run's lock, which agents hold as long as they live
  bool records = true;  // keeps metrics.jsonl and events.jsonl there
  LocalFiles files;
  std::string checkpoint;     // folder to begin with
  std::string predict_input;  // or the folder of an export
  bool quiet = false;
  bool pin = true;
  std::int64_t start_ns = 0;  // CLOCK_MONOTONIC when the command began
};

struct LaunchResult {
  member::Outcome outcome;
  bool began = false;   // a round was finished: there may be something to keep
  std::string message;  // of a failure, with the end of the agent's log
  int exit_code = 0;
  std::string job_json;  // as resolved, also by an own program
  std::string report;    // JSON (docs/report.md), when all agents were done
};

// Blocks until no agent is left. While it runs, SIGINT, SIGTERM, SIGHUP and SIGUSR1 are stops.
LaunchResult launch(const LaunchPlan& plan);

}  // namespace instep::coord
