// Waiting on another agent's word: a short spin, then a futex with a bound. Wake-ups only hint;
// what counts is the condition over the word (design, rule 10).
#pragma once

#include <atomic>
#include <cstdint>

namespace instep::fabric {

struct WaitOptions {
  std::uint32_t spins = 4000;   // 0 where agents outnumber processors
  std::uint32_t slice_ms = 20;  // the longest sleep before the caller looks around again
};

// True once the word is at least `value`; false when a slice went by without it, or a wake-up that
// was meant for something else. `waiting` is the caller's own word, by which publishers know that a
// wake-up is worth a system call.
bool wait_at_least(const std::atomic<std::uint64_t>& word, std::uint64_t value,
                   std::atomic<std::uint32_t>& waiting, const WaitOptions& options);

// Stores `value` so that all that was written before is seen by whoever reads it (streamed stores
// too). wake() afterwards, if somebody's waiting word is up.
void publish(std::atomic<std::uint64_t>& word, std::uint64_t value);
void wake(const std::atomic<std::uint64_t>& word);

}  // namespace instep::fabric
