// `instep run --hosts`: begins a run of many hosts here, and has the others join it by ssh.
#pragma once

#include "cli/commands.h"

namespace instep::cli {

bool on_hosts(const Options& options);
// An Error where flags for other hosts are given without any hosts.
Status hosts_are_meant(const Options& options);
int run_on_hosts(const Options& options);

}  // namespace instep::cli
