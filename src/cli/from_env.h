// `instep agent --from-env`: one of the processes that torchrun, mpirun or srun started, on one
// host or on several.
#pragma once

#include <optional>
#include <string>

#include "cli/commands.h"

namespace instep::cli {

// INSTEP_SECRET, which no process that is started from here on gets, and nobody sees in this one's
// environment. Before there are threads.
std::optional<std::string> take_secret();
// An Error where flags of --join and of --from-env are mixed.
Status flags_go_together(const Options& options);
int from_env_command(const Options& options);

}  // namespace instep::cli
