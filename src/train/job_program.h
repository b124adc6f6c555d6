// The built-in program that agents run for a job file: model, data, optimizer and metrics from the
// job, the loop from instep::Run like any user's program.
#pragma once

namespace instep::train {

// The exit code of the process.
int run_job(int argc, char** argv);

}  // namespace instep::train
