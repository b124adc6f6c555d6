// What the commands have in common that read a checkpoint by an agent: eval, predict, export.
#pragma once

#include <filesystem>

#include "cli/commands.h"
#include "coord/launcher.h"
#include "store/checkpoint.h"

namespace instep::cli {

// A folder for logs, gone with the object.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The checkpoint that the command names, verified; what is said of damaged ones is said here.
Result<store::Found> open_target(const Options& options);

// For one quiet agent that reads this checkpoint, of a job that describes its model; the mode is
// the caller's to set.
Result<coord::LaunchPlan> plan_reading(const Options& options, const store::Found& found,
                                       const Scratch& scratch);

}  // namespace instep::cli
