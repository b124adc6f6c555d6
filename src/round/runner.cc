// The shell around the step machine that really waits.
#include "round/runner.h"

#include "base/machine.h"
#include "fabric/wait.h"

namespace instep::round {

Result<Turn::Step> Runner::run(Turn& turn, const Enough& enough) {
  while (true) {
    const Turn::Step step = turn.step();
    if (step == Turn::Step::kFailed) return turn.error();
    const bool waits = step == Turn::Step::kWaitWord || step == Turn::Step::kWaitNews;
    if (!waits && step != Turn::Step::kAgain) return step;
    if (enough && enough(step)) return step;
    if (!waits) continue;
    const std::int64_t before = monotonic_ns();
    const std::uint32_t was = words_.busy.exchange(
        static_cast<std::uint32_t>(fabric::Busy::kWaiting), std::memory_order_relaxed);
    Status status;
    if (step == Turn::Step::kWaitNews) {
      status = wait_for_news();
    } else {
      const Exchange::Awaited& awaited = turn.awaited();
      // What a network brings takes longer than a spin, and comes by a thread that wants the
      // processor.
      const fabric::WaitOptions options{awaited.agent == kWorldId ? 0 : spins, 20};
      // Said before we look, so that whoever brings news either sees where we sleep or is seen.
      asleep_on.store(awaited.word, std::memory_order_seq_cst);
      while (!seat_.is_due() &&
             !fabric::wait_at_least(*awaited.word, awaited.ticket, words_.waiting, options)) {
        words_.beats.fetch_add(1, std::memory_order_relaxed);
        if (enough && enough(step)) break;
      }
      asleep_on.store(nullptr, std::memory_order_relaxed);
    }
    words_.beats.fetch_add(1, std::memory_order_relaxed);
    words_.busy.store(was, std::memory_order_relaxed);
    waited_seconds += static_cast<double>(monotonic_ns() - before) * 1e-9;
    if (!status.ok()) return status.error();
  }
}

}  // namespace instep::round
