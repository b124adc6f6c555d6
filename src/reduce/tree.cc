#include "reduce/tree.h"

#include <algorithm>
#include <bit>

#include "base/result.h"

namespace instep::reduce {

std::uint32_t left_count(std::uint32_t count) {
  INSTEP_CHECK(count >= 2, "a leaf has no children");
  return std::bit_floor(count - 1);
}

namespace {

void cover(const Node& node, std::uint32_t first, std::uint32_t last, std::vector<Node>& out) {
  if (node.count == 0 || node.first >= last || node.first + node.count <= first) return;
  if (node.first >= first && node.first + node.count <= last) {
    out.push_back(node);
    return;
  }
  const std::uint32_t left = left_count(node.count);
  cover({node.first, left}, first, last, out);
  cover({node.first + left, node.count - left}, first, last, out);
}

void program(const Node& node, const std::vector<Node>& nodes, std::vector<std::int32_t>& out) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i] == node) {
      out.push_back(static_cast<std::int32_t>(i));
      return;
    }
  }
  const std::uint32_t left = left_count(node.count);
  program({node.first, left}, nodes, out);
  program({node.first + left, node.count - left}, nodes, out);
  out.push_back(kAdd);
}

}  // namespace

std::vector<Node> maximal_nodes(std::uint32_t shards, std::uint32_t first, std::uint32_t count) {
  std::vector<Node> out;
  cover({0, shards}, first, first + count, out);
  return out;
}

std::vector<Node> cut_tree(std::uint32_t shards, std::uint32_t count) {
  std::vector<Node> out = {{0, shards}};
  while (out.size() < std::min(std::max(count, 1U), shards)) {
    const auto largest = std::max_element(
        out.begin(), out.end(), [](const Node& a, const Node& b) { return a.count < b.count; });
    const std::uint32_t left = left_count(largest->count);
    const Node right{largest->first + left, largest->count - left};
    largest->count = left;
    out.insert(largest + 1, right);
  }
  return out;
}

bool contains(const Node& outer, const Node& inner) {
  return outer.first <= inner.first && inner.first + inner.count <= outer.first + outer.count;
}

bool in_bounds(const std::vector<Node>& bounds, const Node& inner) {
  return bounds.empty() || std::any_of(bounds.begin(), bounds.end(), [&inner](const Node& bound) {
           return contains(bound, inner);
         });
}

bool are_siblings(std::uint32_t shards, const Node& left, const Node& right) {
  if (left.first + left.count != right.first) return false;
  const Node parent{left.first, left.count + right.count};
  if (left_count(parent.count) != left.count) return false;
  Node node{0, shards};
  while (node.count > parent.count) {
    const std::uint32_t half = left_count(node.count);
    node = parent.first < node.first + half ? Node{node.first, half}
                                            : Node{node.first + half, node.count - half};
  }
  return node == parent;
}

void Merges::assign(std::uint32_t shards, const std::vector<std::uint32_t>& mine,
                    const std::vector<Node>& bounds) {
  shards_ = shards;
  bounds_ = bounds;
  nodes_.clear();
  merges_.clear();
  extend(mine);
}

bool Merges::may_add(const Node& left, const Node& right) const {
  return are_siblings(shards_, left, right) &&
         in_bounds(bounds_, {left.first, left.count + right.count});
}

void Merges::extend(const std::vector<std::uint32_t>& more) {
  const std::size_t kept = nodes_.size();
  for (const std::uint32_t shard : more) {
    nodes_.push_back({shard, 1});
    merges_.push_back(0);
    while (nodes_.size() > kept + 1 && may_add(nodes_[nodes_.size() - 2], nodes_.back())) {
      nodes_[nodes_.size() - 2].count += nodes_.back().count;
      nodes_.pop_back();
      ++merges_.back();
    }
  }
}

std::vector<std::int32_t> combine_program(std::uint32_t shards, const std::vector<Node>& nodes) {
  std::vector<std::int32_t> out;
  if (shards > 0) program({0, shards}, nodes, out);
  return out;
}

}  // namespace instep::reduce
