// instep-agent: what `instep run JOB.toml` starts n times.
#include <cstdio>
#include <cstdlib>

#include "train/job_program.h"

int main(int argc, char** argv) {
  if (std::getenv("INSTEP_CONTROL_FD") == nullptr) {
    std::fprintf(stderr, "instep-agent is started by `instep run`; see `instep run --help`\n");
    return 2;
  }
  return instep::train::run_job(argc, argv);
}
