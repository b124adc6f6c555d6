// The few functions of the lower folders that the simulator gives another body: named failpoints,
// broken invariants, and sleeping on a word. They are the places where production code touches the
// operating system or ends the process; the linker takes these instead of those in the libraries.
#include <string_view>

#include "base/failpoint.h"
#include "base/result.h"
#include "base/text.h"
#include "cluster.h"
#include "fabric/wait.h"

namespace instep {

int failpoint(std::string_view name) {
  return sim::running_cluster == nullptr ? 0 : sim::running_cluster->passes(name);
}

void check_failed(const char* what, const char* file, int line) {
  throw sim::Violation(cat("broken invariant: ", what, " (", file, ":", line, ")"));
}

namespace fabric {

bool wait_at_least(const std::atomic<std::uint64_t>& word, std::uint64_t value,
                   std::atomic<std::uint32_t>& /*waiting*/, const WaitOptions& /*options*/) {
  return word.load(std::memory_order_acquire) >= value;
}

void publish(std::atomic<std::uint64_t>& word, std::uint64_t value) {
  word.store(value, std::memory_order_seq_cst);
}

void wake(const std::atomic<std::uint64_t>& word) {
  if (sim::running_cluster != nullptr) sim::running_cluster->wakes(&word);
}

}  // namespace fabric
}  // namespace instep
