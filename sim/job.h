// What a simulated run computes, and the same computed by plain serial code. Gradients are small
// integers that depend on parameters, shard and round, so sums are exact in any order and whatever
// goes wrong is seen as a bit in the parameters.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "reduce/flat.h"
#include "round/exchange.h"

namespace instep::sim {

inline constexpr std::uint32_t kFullSamples = 4;  // of a shard in a round

struct Job {
  std::uint64_t seed = 0;
  std::uint32_t shards = 4;
  std::uint64_t rounds = 200, rounds_per_epoch = 25;
  int moments = 2;
  double clip_norm = 0;
  bool norm_wanted = false;
  std::uint64_t unit_elements = reduce::kBlockElements;
  reduce::FlatSpace space;
  std::optional<round::Carried> carried;  // the last tensor
  std::uint64_t carried_begin = ~0ULL;    // element from which on values are carried

  // With as many shards as there are hosts, at least.
  static Job random(std::uint64_t seed, std::uint64_t rounds, std::uint32_t hosts);

  std::uint32_t samples(std::uint32_t shard, std::uint64_t round) const;
  round::ShardRow row(std::uint32_t shard, std::uint64_t round) const;
  bool present(std::size_t tensor, std::uint32_t shard, std::uint64_t round) const;
  // Weighted as it is published. `counts`: rounds applied so far, which shards carry.
  void contribution(std::size_t tensor, std::uint32_t shard, std::uint64_t round,
                    std::uint64_t counts, const float* parameters, float* out) const;
  float initial(std::uint64_t element) const;
  // Elements [begin, end) of one optimizer step; `next` holds the parameters as they were.
  void step(std::uint64_t begin, std::uint64_t end, const float* gradient, float factor,
            std::uint64_t updates, float* next, float* const* moment) const;
};

// What an agent's loop knows beside the parameters: its book.
struct LoopState {
  std::uint64_t updates = 0, counts = 0, samples = 0, tallied = 0;
  double loss_sum = 0;
  bool operator==(const LoopState&) const = default;
};
struct Notes {
  LoopState state;
  std::vector<std::uint64_t> history;  // a word an epoch
  std::vector<std::uint64_t> log;      // a word a round of this epoch that was applied
  bool operator==(const Notes&) const = default;
};
// What follows for them from a round that was done, `round` rounds with it.
void note_round(Notes& notes, const Job& job, const round::Outcome& outcome);
std::uint64_t tally(std::span<const std::uint64_t> log);
void note_epoch(Notes& notes, std::uint64_t tallied);

// The state at the beginning of a round.
struct Truth {
  std::uint64_t round = 0;
  std::vector<float> parameters;
  std::array<std::vector<float>, 2> moment;
  Notes notes;
};

class Oracle {
 public:
  // Remembers so many rounds.
  explicit Oracle(const Job& job, std::uint64_t kept = 8);
  // One of the newest that were asked for, or later than all.
  const Truth& at(std::uint64_t round);
  // Of the round that begins with at(round).
  const round::Outcome& outcome(std::uint64_t round);

 private:
  void advance();

  const Job& job_;
  std::uint64_t newest_ = 0;
  std::vector<Truth> truth_;             // [kept]
  std::vector<round::Outcome> outcome_;  // of the round before truth_'s
};

}  // namespace instep::sim
