// `instep agent --from-env`: one of the processes that torchrun, mpirun or srun started.
#pragma once

#include "cli/commands.h"

namespace instep::cli {

// An Error where flags of --join and of --from-env are mixed.
Status flags_go_together(const Options& options);
int from_env_command(const Options& options);

}  // namespace instep::cli
