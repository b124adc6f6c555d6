// The command line of instep: docs/cli.md. Errors are one message on stderr; exit code 2 for what
// the user can mend, 1 for what went wrong otherwise, 130 after Ctrl-C.
#pragma once

#include <cstdint>

namespace instep::cli {

// `start_ns`: CLOCK_MONOTONIC when the program began.
int run(int argc, char** argv, std::int64_t start_ns);

}  // namespace instep::cli
