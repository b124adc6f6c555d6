#include "fabric/wait.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace instep::fabric {
namespace {

constexpr std::uint32_t kYieldEvery = 256;  // about ten microseconds

// Not const for the kernel's sake only: FUTEX_WAIT and FUTEX_WAKE never write the word.
std::uint32_t* address(const std::atomic<std::uint32_t>& word) {
  return reinterpret_cast<std::uint32_t*>(const_cast<std::atomic<std::uint32_t>*>(&word));
}

}  // namespace

bool wait_at_least(const std::atomic<std::uint32_t>& word, std::uint32_t ticket,
                   std::atomic<std::uint32_t>& waiting, const WaitOptions& options) {
  for (std::uint32_t spin = 0; spin <= options.spins; ++spin) {
    if (at_least(word.load(std::memory_order_acquire), ticket)) return true;
    // Whoever is waited for may want this very processor (agents confined to fewer processors than
    // the machine has); alone on it, a yield returns at once.
    if (spin % kYieldEvery == kYieldEvery - 1) {
      ::sched_yield();
    } else {
      _mm_pause();
    }
  }
  // The flag is up before the kernel compares the word, and a publisher looks at the flag after its
  // store, both sequentially consistent: one of the two sees the other.
  waiting.store(1, std::memory_order_seq_cst);
  const std::uint32_t seen = word.load(std::memory_order_seq_cst);
  if (!at_least(seen, ticket)) {
    const timespec bound{options.slice_ms / 1000,
                         static_cast<long>(options.slice_ms % 1000) * 1000000};
    ::syscall(SYS_futex, address(word), FUTEX_WAIT, seen, &bound, nullptr, 0);
  }
  waiting.store(0, std::memory_order_relaxed);
  return at_least(word.load(std::memory_order_acquire), ticket);
}

void publish(std::atomic<std::uint32_t>& word, std::uint32_t ticket) {
  _mm_sfence();
  word.store(ticket, std::memory_order_seq_cst);
}

void wake(const std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, address(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace instep::fabric
