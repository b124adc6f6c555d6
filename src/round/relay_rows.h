// What hosts say of a round beside sums: the rows of shards, and which sums there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "round/part.h"

namespace instep::round {

std::vector<std::byte> write_rows(std::uint64_t check, Directive directive,
                                  std::span<const ShardRow> rows,
                                  std::span<const std::uint8_t> flags);

struct Rows {
  std::uint64_t check = 0;  // of the state, at the round's beginning
  Directive directive = Directive::kNone;
  std::vector<ShardRow> rows;
  std::vector<std::uint8_t> flags;
};

// The rows of exactly these shards, and so many flags.
Result<Rows> read_rows(std::span<const std::byte> bytes, const std::vector<std::uint32_t>& shards,
                       std::size_t flags);

}  // namespace instep::round
