// Buffers that training changes, as BatchNorm's running statistics: state that a shard carries from
// round to round (design, section 3 rule 4). Each shard starts a round from the buffers of the
// state; what the shards leave is combined like gradients, in tree order and weighted by samples,
// and the mean is the next state. Integer buffers (a count of batches) move by the mean of what the
// shards added, rounded.
//
// All of them lie in one stretch of the flat space, behind the parameters: the buffers, each on 64
// bytes, then one float a buffer that says whether the shard has changed it. One that no shard of a
// round has changed keeps its bits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/named_tensor.h"
#include "reduce/flat.h"

namespace instep::model {

class Carried {
 public:
  Carried() = default;
  // Takes up the float32 and integer buffers on the CPU; others must stay as they are.
  explicit Carried(const std::vector<NamedTensor>& buffers);

  bool empty() const { return items_.empty(); }
  std::uint64_t elements() const { return elements_; }  // of the stretch
  // Where the buffers and the flags lie in it.
  std::vector<reduce::Range> parts() const;
  reduce::Range flags() const { return {flags_, items_.size()}; }

  // Integers begin with what their buffers hold now.
  void begin();

  // `stretch` of [elements()] is the state's. Sets every buffer to it; integers to what they are
  // at this round.
  void restore(const float* stretch) const;
  // What the buffers are now, as a shard's contribution: [elements()] of float32.
  at::Tensor contribution(const float* stretch) const;
  // The elements [first, first + count) of the stretch as the buffers have them, for the first
  // round.
  void write(float* to, std::uint64_t first, std::uint64_t count) const;
  // Integers at this round, all of them in one row: for who takes the state over.
  std::vector<std::int64_t> counts() const;
  Status set_counts(std::span<const std::int64_t> counts);
  // After an applied round: integers move by what it combined.
  void advance(const float* stretch);
  // The first buffer that is not carried and has changed since this was made; empty: none.
  std::string changed_elsewhere() const;

 private:
  struct Item {
    NamedTensor buffer;
    reduce::Range place;
    std::vector<std::int64_t> counts;  // of an integer buffer, at this round
    bool integer = false;
  };
  struct Fixed {
    NamedTensor buffer;
    std::int64_t version = 0;
  };
  std::vector<Item> items_;
  std::vector<Fixed> fixed_;
  std::uint64_t flags_ = 0, elements_ = 0;
};

}  // namespace instep::model
