// The state of a job in the host's shared file: parameters in two buffers (a round reads one and
// writes the other), the combined gradient where somebody needs it, the optimizer's moments, and
// where the job wants it the parameters' moving average and what a codec keeps back of each of its
// nodes (two buffers, as parameters). It outlives any process, since the launcher keeps the
// descriptor. Only a slice's owner can write it: the rest is mapped read-only (design, section 3
// rules 1 and 2).
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "fabric/host_memory.h"
#include "member/view.h"
#include "round/undo.h"

namespace instep::sync {

class StateMemory {
 public:
  // `blocks` of the flat space, `moments` regions of its size, one for an average, and two for each
  // of `residuals`. Refuses what the machine cannot hold, saying how much is needed.
  static Result<StateMemory> map(const Fd& file, std::uint64_t blocks, int moments,
                                 bool average = false, std::size_t residuals = 0);

  float* parameters(std::uint64_t round) const { return region(round & 1); }
  float* combined() const { return region(2); }
  float* moment(int index) const { return region(3 + static_cast<std::uint64_t>(index)); }
  int moments() const { return moments_; }
  // Null without one.
  float* average() const {
    return average_ ? region(3 + static_cast<std::uint64_t>(moments_)) : nullptr;
  }
  // What is kept back of a node's sum when the round begins.
  float* residual(std::uint64_t round, std::size_t node) const {
    return region(3 + static_cast<std::uint64_t>(moments_) + (average_ ? 1 : 0) + 2 * node +
                  (round & 1));
  }
  std::size_t residuals() const { return residuals_; }
  std::uint64_t blocks() const { return blocks_; }
  // Scalars by block, [blocks] doubles each, one writer a word: squared gradient, squared change.
  double* gradient_sums() const { return sums(0); }
  double* change_sums() const { return sums(1); }

  // By block, [blocks]: what the state at the beginning of the round sums up to, written by the
  // block's owner with it (design, rule 12).
  std::uint64_t* checks(std::uint64_t round) const {
    return reinterpret_cast<std::uint64_t*>(sums(2 + (round & 1)));
  }
  // Where they lie in the file, in bytes.
  std::uint64_t checks_at(std::uint64_t round) const { return (2 + (round & 1)) * sums_bytes(); }
  // The same from what memory holds now.
  std::uint64_t check_of(std::uint64_t block, std::uint64_t round) const;
  // The residuals' part of it.
  std::uint64_t residuals_check_of(std::uint64_t block, std::uint64_t round) const;
  // What of the file is the state at the beginning of a round, as wire::Ready has it.
  std::vector<std::uint64_t> state_at(std::uint64_t round) const;
  // By block, [blocks]: see round/undo.h. One writer a word, the block's owner.
  round::Stamp* stamps() const;
  // What a round steps in place: moments and average.
  const std::vector<const float*>& stepped() const { return stepped_; }
  const std::byte* data() const { return mapping_.data(); }

  // Makes exactly these slices writable for this process.
  Status own(const std::vector<member::Slice>& slices, member::AgentId me);

 private:
  float* region(std::uint64_t index) const;
  double* sums(std::uint64_t index) const;
  std::uint64_t sums_bytes() const;
  std::uint64_t stamps_bytes() const;

  fabric::Mapping mapping_;
  std::vector<const float*> stepped_;
  std::uint64_t blocks_ = 0;
  std::uint64_t regions() const {
    return 3 + static_cast<std::uint64_t>(moments_) + (average_ ? 1 : 0) + 2 * residuals_;
  }

  int moments_ = 0;
  bool average_ = false;
  std::size_t residuals_ = 0;
};

}  // namespace instep::sync
