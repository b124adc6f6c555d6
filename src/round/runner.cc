// The shell around the step machine that really waits.
#include <ctime>

#include "fabric/wait.h"
#include "round/exchange.h"

namespace instep::round {

Status Runner::run(Exchange& exchange) {
  std::atomic<std::uint32_t>& waiting = exchange.words(exchange.setup().me).waiting;
  const fabric::WaitOptions options{spins, 20};
  while (true) {
    switch (exchange.step()) {
      case Exchange::Step::kAgain:
        break;
      case Exchange::Step::kWait: {
        timespec before{};
        timespec after{};
        ::clock_gettime(CLOCK_MONOTONIC, &before);
        Status status;
        while (!fabric::wait_at_least(*exchange.awaited().word, exchange.awaited().ticket, waiting,
                                      options)) {
          if (alive) status = alive();
          if (!status.ok()) return status;
        }
        ::clock_gettime(CLOCK_MONOTONIC, &after);
        waited_seconds += static_cast<double>(after.tv_sec - before.tv_sec) +
                          1e-9 * static_cast<double>(after.tv_nsec - before.tv_nsec);
        break;
      }
      case Exchange::Step::kDone:
        return {};
      case Exchange::Step::kFailed:
        return exchange.error();
    }
  }
}

}  // namespace instep::round
