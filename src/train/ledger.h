// Which samples were really counted, by the agents that computed them: an entry is made when a
// round's update was applied, not when it was planned. One byte a sample and epoch of data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace instep::train {

// Its tensor in a checkpoint's state file: [samples] bytes of the epoch of data under way.
inline constexpr const char* kLedgerName = "instep.ledger";

struct SampleCounts {
  std::uint64_t due = 0, counted = 0, missed = 0, repeated = 0;
};

class Ledger {
 public:
  explicit Ledger(std::uint64_t samples) : counts_(samples) {}

  void count(std::span<const std::uint64_t> samples) {
    for (const std::uint64_t sample : samples) {
      if (counts_[sample] < 255) ++counts_[sample];
    }
  }
  std::span<const std::uint8_t> bytes() const { return counts_; }
  void clear() { std::fill(counts_.begin(), counts_.end(), 0); }
  // Takes over another ledger's entries (a resumed run's).
  void add(std::span<const std::uint8_t> other);

  // The sum over all agents' ledgers of one epoch, `due` of its samples being planned so far.
  static SampleCounts tally(const std::vector<std::span<const std::uint8_t>>& ledgers,
                            std::uint64_t due);

 private:
  std::vector<std::uint8_t> counts_;
};

}  // namespace instep::train
