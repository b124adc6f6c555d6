// An agent's gradients of one round: those of its shards, added up to the canonical tree's nodes
// the moment autograd has made them, while they are in cache. At most log2(shards) + 1 sets are
// alive. What shards carry is added up beside them.
//
// Threads: backward() runs in the caller's thread on the CPU, and so do the hooks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "fabric/arena.h"
#include "reduce/tree.h"

namespace instep::model {

class Gradients {
 public:
  // Registers a hook on each parameter; the object must outlive their last backward(). `carried`:
  // one tensor more comes by add_carried().
  Gradients(std::vector<at::Tensor> parameters, bool carried, const fabric::Arena& arena);
  ~Gradients();
  Gradients(const Gradients&) = delete;
  Gradients& operator=(const Gradients&) = delete;

  // For these of `shards` shards, ascending, from the next round on; see reduce::Merges for
  // `bounds`.
  void assign(std::uint32_t shards, const std::vector<std::uint32_t>& mine,
              const std::vector<reduce::Node>& bounds) {
    merges_.assign(shards, mine, bounds);
  }
  // More of them, ascending, in mid-round: behind those computed, which stay as they are.
  void extend(const std::vector<std::uint32_t>& more) { merges_.extend(more); }

  void begin_round();
  // Before the last shard: what there is by now, as offsets() has it, with
  // fabric::Arena::kPending's value for what that shard completes. Of each of those `settled`
  // hears, in the hook that completes it, before the hook's backward() goes on.
  using Settled = std::function<void(std::size_t index, std::uint64_t offset)>;
  const std::vector<std::uint64_t>& open(Settled settled);
  // The next shard, in order. `weight` is its samples by those of a full shard.
  void begin_shard(float weight);
  // Before each backward() of the shard: gradients of several parts are summed by autograd, in
  // their order, and taken with the last.
  void begin_part(bool last) { last_part_ = last; }
  void add_carried(at::Tensor values) { take_values(parameters_.size(), std::move(values)); }
  void end_shard();  // after its backward(), or without one for a shard that has no samples

  const std::vector<reduce::Node>& nodes() const { return merges_.nodes(); }
  // After the last shard: [nodes][parameters and carried] arena offsets, fabric::Arena::kAbsent's
  // value for none.
  const std::vector<std::uint64_t>& offsets();

 private:
  class Hook;
  void take(std::size_t parameter);
  void take_values(std::size_t tensor, at::Tensor values);
  void push(std::size_t tensor, at::Tensor values);
  std::uint64_t offset_of(const at::Tensor& gradient) const;

  const fabric::Arena& arena_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::vector<at::Tensor>> stacks_;  // [parameters and carried]
  std::vector<std::uint32_t> seen_;              // the same: shard index + 1 that came last
  reduce::Merges merges_;
  std::vector<std::uint64_t> offsets_;
  Settled settled_;          // empty: nobody wants to know
  std::uint32_t shard_ = 0;  // index + 1 of the shard under way
  float weight_ = 1;
  bool last_part_ = true;
};

}  // namespace instep::model
