// `instep agent --from-env` where the launcher started processes on several hosts: each host works
// out by itself, from a secret that all have, where the first one listens and how to prove oneself.
#pragma once

#include <string>

#include "cli/commands.h"
#include "cli/ranks.h"
#include "fabric/address.h"

namespace instep::cli {

struct HostGroup {
  Rank rank;                // of this host's first process
  fabric::Address meeting;  // where the first host listens
  std::string meeting_from;
  std::string secret;
  bool insecure = false;  // the secret is none
};
// An Error that is the same in all processes that the launcher has given the same variables.
Result<HostGroup> read_host_group(const Options& options, const Rank& rank);

// This host's part of the run; its exit code. The host of rank 0 is the first one.
int train_in_group(const Options& options, const HostGroup& group);

}  // namespace instep::cli
