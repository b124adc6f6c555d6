// The canonical tree over shard numbers: the one order in which contributions are added. A node
// over `count` shards splits at the largest power of two below `count`, so aligned ranges of shards
// are subtrees whatever the number of shards (design, rule 14).
#pragma once

#include <cstdint>
#include <vector>

namespace instep::reduce {

struct Node {
  std::uint32_t first = 0, count = 0;
  bool operator==(const Node&) const = default;
};

// The number of shards in the left child of a node over `count` >= 2 shards.
std::uint32_t left_count(std::uint32_t count);

// The fewest canonical nodes of the tree over [0, shards) that cover exactly [first, first +
// count).
std::vector<Node> maximal_nodes(std::uint32_t shards, std::uint32_t first, std::uint32_t count);

// `count` canonical nodes that cover the tree over [0, shards), as equal as they can be: the
// largest is split until there are so many, the first among equals. At least 1, at most `shards`.
std::vector<Node> cut_tree(std::uint32_t shards, std::uint32_t count);

// Whether the shards of `inner` are all shards of `outer`.
bool contains(const Node& outer, const Node& inner);
// Whether they are all shards of one of `bounds`; without any, nothing is out of bounds.
bool in_bounds(const std::vector<Node>& bounds, const Node& inner);

// Whether `left` and `right` are the two children of one node of the tree over [0, shards).
bool are_siblings(std::uint32_t shards, const Node& left, const Node& right);

// How partial sums of shards that come one after the other are added up to as few canonical nodes
// as they make, the moment a node's two halves are there.
class Merges {
 public:
  // For these of `shards` shards, in this order. Nothing is added up beyond the nodes of `bounds`,
  // which cover the tree; without any, up to its root.
  void assign(std::uint32_t shards, const std::vector<std::uint32_t>& mine,
              const std::vector<Node>& bounds = {});
  // More of them behind those; what was there before stays as it is.
  void extend(const std::vector<std::uint32_t>& more);

  // After the last shard.
  const std::vector<Node>& nodes() const { return nodes_; }
  // How many additions of the two newest partial sums follow shard number `index`.
  std::uint32_t after(std::size_t index) const { return merges_[index]; }

 private:
  bool may_add(const Node& left, const Node& right) const;

  std::uint32_t shards_ = 0;
  std::vector<Node> bounds_;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> merges_;
};

// The sum over the whole tree from disjoint nodes that cover it, as a program for a stack machine:
// an entry >= 0 pushes that node's partial sum, kAdd replaces the two topmost by left + right.
inline constexpr std::int32_t kAdd = -1;
std::vector<std::int32_t> combine_program(std::uint32_t shards, const std::vector<Node>& nodes);

}  // namespace instep::reduce
