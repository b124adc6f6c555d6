// The program. Everything it does is in src/cli.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/machine.h"
#include "cli/cli.h"
#include "coord/coordinator.h"

int main(int argc, char** argv) {
  const std::int64_t start_ns = instep::monotonic_ns();
  // Were one of the standard descriptors closed, a file or a socket would take its number.
  for (int fd = 0; fd >= 0 && fd <= 2;) {
    fd = ::open("/dev/null", O_RDWR);
    if (fd > 2) ::close(fd);
  }
  ::signal(SIGXFSZ, SIG_IGN);  // a limit on file size is an error of the write, not a death
  instep::coord::coordinate_if_asked();
  const int code = instep::cli::run(argc, argv, start_ns);
  std::fflush(nullptr);
  // A dataset that nobody waits for any more may still be decoded by a thread; it ends here.
  std::_Exit(code);
}
