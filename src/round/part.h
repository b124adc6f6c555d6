// What a member publishes for one ticket: the rows of the shards that it computed and where the
// partial sums of its canonical nodes lie in its arena (a round), or plain bytes (a gather). It is
// written to a mail of its own in the member's arena before its `published` word says so, and stays
// as it is until every member has begun the next op but one.
//
// Of a round a bridge may see a part before that, in another mail, which `opened` tells of: open,
// without rows, and with fabric::Arena::kPending in the place of what is still computed. There the
// offsets come one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/host_memory.h"
#include "reduce/flat.h"
#include "reduce/tree.h"

namespace instep::round {

// A shard's scalars of a round. `samples` is its weight in every mean; `drawn` is a hash of the
// numbers of the samples that it was computed from.
struct ShardRow {
  std::uint32_t shard = 0;
  std::uint32_t samples = 0;
  double loss = 0;
  std::uint64_t drawn = 0;
};

// What makes a round's sum of gradients, each weighted by its samples over those of a full batch,
// their mean. 0 of a round without samples, which is void.
float mean_factor(std::uint32_t full_samples, std::uint64_t samples);

// Decided by the lead (the lowest member), obeyed by all at the end of the round that carries it.
enum class Directive : std::uint32_t { kNone, kStop };

struct Part {
  fabric::Ticket ticket = 0;
  std::uint64_t round = 0;
  Directive directive = Directive::kNone;
  std::span<const ShardRow> rows;
  std::span<const reduce::Node> nodes;
  // [nodes][tensors] bytes from the arena's beginning; fabric::Arena::kAbsent of a tensor that took
  // no part in the loss.
  std::span<const std::uint64_t> offsets;
  std::span<const std::byte> bytes;  // of a gather
  bool open = false;
};

std::size_t part_bytes(const Part& part);
void write_part(const Part& part, std::byte* to);
// `memory` begins with a part; the spans point into it. Counts are held against its size before
// they are used.
Result<Part> read_part(std::span<const std::byte> memory);
// An open part that was written at `to`: a sum that was pending stands now, or is absent.
void settle(std::byte* to, std::size_t offset_index, std::uint64_t offset);
// Where the part's sums lie in its arena, [nodes][tensors], null for an absent one, appended to
// `sources`; each is held against the arena's size.
Status add_sources(const Part& part, std::span<const std::byte> arena,
                   const std::vector<reduce::Range>& tensors, std::vector<const float*>& sources);
// The same of an open part: null, and not 0 in `pending`, for what is still computed.
Status add_open_sources(const Part& part, std::span<const std::byte> arena,
                        const std::vector<reduce::Range>& tensors,
                        std::vector<const float*>& sources, std::vector<std::uint8_t>& pending);
// The part for `ticket` among the two newest of an agent; nothing if they are for other tickets.
Result<std::optional<Part>> find_part(const fabric::AgentWords& words,
                                      std::span<const std::byte> arena, fabric::Ticket ticket);

}  // namespace instep::round
