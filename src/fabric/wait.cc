#include "fabric/wait.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <climits>
#include <ctime>

namespace instep::fabric {
namespace {

constexpr std::uint32_t kYieldEvery = 256;  // about ten microseconds

// The word's low half, which the kernel compares. Not const for its sake only: FUTEX_WAIT and
// FUTEX_WAKE never write it.
std::uint32_t* address(const std::atomic<std::uint64_t>& word) {
  static_assert(std::endian::native == std::endian::little);
  return reinterpret_cast<std::uint32_t*>(const_cast<std::atomic<std::uint64_t>*>(&word));
}

}  // namespace

bool wait_at_least(const std::atomic<std::uint64_t>& word, std::uint64_t value,
                   std::atomic<std::uint32_t>& waiting, const WaitOptions& options) {
  for (std::uint32_t spin = 0; spin <= options.spins; ++spin) {
    if (word.load(std::memory_order_acquire) >= value) return true;
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
  const std::uint64_t seen = word.load(std::memory_order_seq_cst);
  if (seen < value) {
    const timespec bound{options.slice_ms / 1000,
                         static_cast<long>(options.slice_ms % 1000) * 1000000};
    ::syscall(SYS_futex, address(word), FUTEX_WAIT, static_cast<std::uint32_t>(seen), &bound,
              nullptr, 0);
  }
  waiting.store(0, std::memory_order_relaxed);
  return word.load(std::memory_order_acquire) >= value;
}

void publish(std::atomic<std::uint64_t>& word, std::uint64_t value) {
  _mm_sfence();
  word.store(value, std::memory_order_seq_cst);
}

void wake(const std::atomic<std::uint64_t>& word) {
  ::syscall(SYS_futex, address(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace instep::fabric
