// Which samples were really counted: a row for each contribution that a round's update was made of,
// when it was applied, not when it was planned. Every member keeps all rows of the epoch of data
// under way, so none is lost with its agent; at the epoch's end they are expanded to samples and
// added up.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/sampler.h"
#include "round/part.h"

namespace instep::train {

// Its tensor in a checkpoint's state file: the rows' bytes.
inline constexpr const char* kLedgerName = "instep.ledger";

struct SampleCounts {
  std::uint64_t due = 0, counted = 0, missed = 0, repeated = 0;
};

struct LedgerRow {
  std::uint32_t round = 0;  // in the epoch of data
  std::uint32_t shard = 0;
  std::uint32_t samples = 0;
  std::uint32_t unused = 0;
  std::uint64_t drawn = 0;  // hash of the samples' numbers, by who computed them
};

// The hash that a row has.
std::uint64_t drawn_hash(std::span<const std::uint64_t> samples);

class Ledger {
 public:
  // Adds the contributions of an applied round; the rows that are new.
  std::span<const LedgerRow> count(std::uint64_t round, std::span<const round::ShardRow> rows);
  std::span<const LedgerRow> rows() const { return rows_; }
  void clear() { rows_.clear(); }
  // Takes over another ledger's rows (a resumed run's, a newcomer's).
  Status take(std::span<const std::byte> bytes);

  // How often each of `samples` numbers was counted in the rows with index % members == member.
  // Rows of other samples than the sampler's are an Error. `beat` is called now and then.
  Result<std::vector<std::uint8_t>> expand(
      const data::Sampler& sampler, std::uint64_t data_epoch, std::uint64_t samples,
      std::size_t member, std::size_t members, const std::function<void()>& beat = [] {}) const;
  // The sum of everybody's share, `due` samples being planned so far.
  static SampleCounts tally(const std::vector<std::span<const std::uint8_t>>& shares,
                            std::uint64_t due);

 private:
  std::vector<LedgerRow> rows_;
};

}  // namespace instep::train
