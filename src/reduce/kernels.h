// The arithmetic of a combine, over plain floats. Each function's result is a pure function of its
// inputs: no fused multiply-add, no reassociation, one order of a sum whatever the machine's
// vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "reduce/tree.h"

namespace instep::reduce {

// to[i] = a[i] + b[i]; `to` may be a.
void add(float* to, const float* a, const float* b, std::size_t count);
// to[i] *= factor
void scale(float* to, float factor, std::size_t count);
// to[i] += weight * (from[i] - to[i])
void blend(float* to, const float* from, float weight, std::size_t count);
// The sum of squares in double precision: 8 lanes, added pairwise at the end.
double sum_of_squares(const float* values, std::size_t count);
// The same of a[i] - b[i].
double sum_of_squared_differences(const float* a, const float* b, std::size_t count);
// A sum of the values' bits that any change of one bit changes. `count` is even.
std::uint64_t sum_of_bits(const float* values, std::size_t count);
// The same of `from`, which is copied on the way; the two do not overlap.
std::uint64_t copy_and_sum_bits(float* to, const float* from, std::size_t count);
// The sum of doubles in the canonical tree's order.
double tree_sum(std::span<const double> values);

// Adds up partial sums of canonical nodes. Made once a view.
class Combiner {
 public:
  Combiner(std::uint32_t shards, const std::vector<Node>& nodes);

  // to[i] = (sum over the tree of parts[node][i]) * factor, NaNs made the one quiet NaN (which
  // operand's payload survives an addition would depend on who added). A null part is absent: x +
  // absent is x. All absent gives zeros. `stream` writes around the cache: `to` on 32 bytes.
  void run(const float* const* parts, float* to, std::size_t count, float factor, bool stream);

 private:
  std::vector<std::int32_t> program_;
  std::vector<float> scratch_;
};

// The sum of one node out of partial sums of nodes that make it up.
struct NodeSum {
  // Of those among `parts` that lie in the node, which cover it.
  NodeSum(const Node& node, const std::vector<Node>& parts);

  std::vector<std::size_t> from;  // their numbers in `parts`
  Combiner sum;                   // over them, in that order
};

}  // namespace instep::reduce
