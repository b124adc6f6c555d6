// instep-agent: what `instep run JOB.toml` starts n times.
#include <cstdio>
#include <cstdlib>

#include "train/job_program.h"

int main(int argc, char** argv) {
  if (std::getenv("INSTEP_CONTROL_FD") == nullptr) {
    std::fprintf(stderr, "instep-agent is started by `instep run`; see `instep run --help`\n");
    return 2;
  }
  const int code = instep::train::run_job(argc, argv);
#if defined(__SANITIZE_ADDRESS__)
  return code;  // what leaks is looked for at an orderly exit
#else
  // libtorch's static destructors take 0.15 s and change nothing.
  std::fflush(nullptr);
  std::_Exit(code);
#endif
}
