// The settings of libtorch that bits depend on, chosen on purpose and compared between agents.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "job/job.h"

namespace instep::train {

// First thing in a program: threads, determinism, TorchScript's optimizer, the seed. Refuses an
// OpenMP environment that changes the number of threads behind our back (OMP_DYNAMIC,
// OMP_THREAD_LIMIT).
Status prepare_libtorch(const job::Job& job);
// Before a job is known: the number of threads that the launcher chose, or 1.
void set_threads_early();

// Of the libtorch that is loaded, which may be another one than that which this program was built
// with.
std::string libtorch_version();

// What must be equal on two agents whose bits are to be equal: build, libtorch, processor,
// capability, settings, and the hash of a small computation.
std::map<std::string, std::string> fingerprint();

}  // namespace instep::train
