#include "train/ledger.h"

#include "base/result.h"

namespace instep::train {

void Ledger::add(std::span<const std::uint8_t> other) {
  INSTEP_CHECK(other.size() == counts_.size(), "ledgers of one dataset have one size");
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] = static_cast<std::uint8_t>(std::min(255, counts_[i] + other[i]));
  }
}

SampleCounts Ledger::tally(const std::vector<std::span<const std::uint8_t>>& ledgers,
                           std::uint64_t due) {
  SampleCounts out;
  out.due = due;
  const std::size_t size = ledgers.empty() ? 0 : ledgers.front().size();
  for (std::size_t i = 0; i < size; ++i) {
    std::uint64_t times = 0;
    for (const auto& ledger : ledgers) times += ledger[i];
    out.counted += times > 0 ? 1 : 0;
    out.repeated += times > 1 ? times - 1 : 0;
  }
  out.missed = due > out.counted ? due - out.counted : 0;
  return out;
}

}  // namespace instep::train
