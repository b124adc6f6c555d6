// A simulated agent's gradients of a round, in its arena: as model::Gradients, over plain floats.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fabric/arena.h"
#include "job.h"
#include "reduce/tree.h"

namespace instep::sim {

class Gradients {
 public:
  Gradients(const Job& job, fabric::Arena& arena) : job_(job), arena_(arena) {
    stacks_.resize(job.space.tensors().size());
  }

  void assign(const std::vector<std::uint32_t>& mine) { merges_.assign(job_.shards, mine); }
  void extend(const std::vector<std::uint32_t>& more) { merges_.extend(more); }
  void begin_round();
  using Settled = std::function<void(std::size_t index, std::uint64_t offset)>;
  const std::vector<std::uint64_t>& open(Settled settled);
  void compute(std::uint32_t shard, std::uint64_t round, std::uint64_t counts,
               const float* parameters);

  const std::vector<reduce::Node>& nodes() const { return merges_.nodes(); }
  const std::vector<std::uint64_t>& offsets();

 private:
  std::uint64_t offset_of(const float* values) const;

  const Job& job_;
  fabric::Arena& arena_;
  std::vector<std::vector<float*>> stacks_;  // [tensors]
  reduce::Merges merges_;
  std::vector<std::uint64_t> offsets_;
  std::size_t done_ = 0;  // shards
  Settled settled_;
};

}  // namespace instep::sim
