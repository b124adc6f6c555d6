#include "train/ledger.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/text.h"

namespace instep::train {

std::uint64_t drawn_hash(std::span<const std::uint64_t> samples) {
  return xxh3(std::as_bytes(samples));
}

std::span<const LedgerRow> Ledger::count(std::uint64_t round,
                                         std::span<const round::ShardRow> rows) {
  const std::size_t before = rows_.size();
  for (const round::ShardRow& row : rows) {
    if (row.samples == 0) continue;
    rows_.push_back({static_cast<std::uint32_t>(round), row.shard, row.samples, 0, row.drawn});
  }
  return std::span(rows_).subspan(before);
}

Status Ledger::take(std::span<const std::byte> bytes) {
  if (bytes.size() % sizeof(LedgerRow) != 0) {
    return Error{ErrorKind::kMismatch, "a ledger to be taken over does not hold together"};
  }
  rows_.resize(bytes.size() / sizeof(LedgerRow));
  if (!bytes.empty()) std::memcpy(rows_.data(), bytes.data(), bytes.size());
  return {};
}

Result<std::vector<std::uint8_t>> Ledger::expand(const data::Sampler& sampler,
                                                 std::uint64_t data_epoch, std::uint64_t samples,
                                                 std::size_t member, std::size_t members,
                                                 const std::function<void()>& beat) const {
  std::vector<std::uint8_t> out(samples);
  std::vector<std::uint64_t> numbers;
  for (std::size_t i = member; i < rows_.size(); i += members) {
    beat();
    const LedgerRow& row = rows_[i];
    sampler.batch(row.shard, data_epoch, row.round, numbers);
    if (numbers.size() != row.samples || drawn_hash(numbers) != row.drawn) {
      return Error{ErrorKind::kCorrupt, cat("shard ", row.shard, " of round ", row.round,
                                            " of its epoch was computed from other samples than "
                                            "were its")};
    }
    for (const std::uint64_t number : numbers) {
      if (out[number] < 255) ++out[number];
    }
  }
  return out;
}

SampleCounts Ledger::tally(const std::vector<std::span<const std::uint8_t>>& shares,
                           std::uint64_t due) {
  SampleCounts out;
  out.due = due;
  const std::size_t size = shares.empty() ? 0 : shares.front().size();
  for (std::size_t i = 0; i < size; ++i) {
    std::uint64_t times = 0;
    for (const auto& share : shares) times += share[i];
    out.counted += times > 0 ? 1 : 0;
    out.repeated += times > 1 ? times - 1 : 0;
  }
  out.missed = due > out.counted ? due - out.counted : 0;
  return out;
}

}  // namespace instep::train
