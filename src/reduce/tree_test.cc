#include "reduce/tree.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "reduce/flat.h"

namespace instep::reduce {
namespace {

TEST(Tree, SplitsAtTheLargestPowerOfTwoBelow) {
  EXPECT_EQ(left_count(2), 1U);
  EXPECT_EQ(left_count(3), 2U);
  EXPECT_EQ(left_count(8), 4U);
  EXPECT_EQ(left_count(9), 8U);
  EXPECT_EQ(left_count(12), 8U);
}

// Every range of every small tree: the nodes are disjoint, canonical, cover the range, and no two
// of them could be one.
TEST(Tree, MaximalNodesCoverExactlyAndAreMaximal) {
  for (std::uint32_t shards = 1; shards <= 20; ++shards) {
    for (std::uint32_t first = 0; first < shards; ++first) {
      for (std::uint32_t count = 1; first + count <= shards; ++count) {
        const std::vector<Node> nodes = maximal_nodes(shards, first, count);
        std::uint32_t at = first;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
          EXPECT_EQ(nodes[i].first, at);
          at += nodes[i].count;
          if (i > 0) {
            EXPECT_FALSE(are_siblings(shards, nodes[i - 1], nodes[i]));
          }
        }
        EXPECT_EQ(at, first + count);
      }
    }
  }
}

// An agent adds shards as it computes them: pushing leaves and merging siblings ends with exactly
// the nodes that it is expected to publish.
TEST(Tree, MergingSiblingsOneByOneGivesTheMaximalNodes) {
  for (std::uint32_t shards = 1; shards <= 20; ++shards) {
    for (std::uint32_t first = 0; first < shards; ++first) {
      for (std::uint32_t count = 1; first + count <= shards; ++count) {
        std::vector<Node> stack;
        for (std::uint32_t shard = first; shard < first + count; ++shard) {
          stack.push_back({shard, 1});
          while (stack.size() > 1 && are_siblings(shards, stack[stack.size() - 2], stack.back())) {
            stack[stack.size() - 2].count += stack.back().count;
            stack.pop_back();
          }
        }
        EXPECT_EQ(stack, maximal_nodes(shards, first, count));
      }
    }
  }
}

TEST(Tree, CutsAreCanonicalAndAsEqualAsTheyCanBe) {
  for (std::uint32_t shards = 1; shards <= 20; ++shards) {
    for (std::uint32_t count = 1; count <= shards; ++count) {
      const std::vector<Node> nodes = cut_tree(shards, count);
      ASSERT_EQ(nodes.size(), count);
      std::uint32_t at = 0;
      for (const Node& node : nodes) {
        EXPECT_EQ(node.first, at);
        EXPECT_EQ(maximal_nodes(shards, node.first, node.count), std::vector<Node>{node});
        at += node.count;
      }
      EXPECT_EQ(at, shards);
    }
  }
  EXPECT_EQ(cut_tree(8, 4), (std::vector<Node>{{0, 2}, {2, 2}, {4, 2}, {6, 2}}));
  EXPECT_EQ(cut_tree(6, 3), (std::vector<Node>{{0, 2}, {2, 2}, {4, 2}}));
  EXPECT_EQ(cut_tree(4, 0), (std::vector<Node>{{0, 4}}));
  EXPECT_EQ(cut_tree(2, 9).size(), 2U);
}

TEST(Tree, NothingIsMergedBeyondABound) {
  Merges merges;
  merges.assign(8, {0, 1, 2, 3, 4, 5, 6, 7}, cut_tree(8, 4));
  EXPECT_EQ(merges.nodes(), cut_tree(8, 4));
  merges.assign(8, {1, 2, 3, 4}, cut_tree(8, 2));
  EXPECT_EQ(merges.nodes(), (std::vector<Node>{{1, 1}, {2, 2}, {4, 1}}));
  merges.assign(8, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(merges.nodes(), (std::vector<Node>{{0, 8}}));
}

TEST(Tree, ProgramIsPostfixOverTheNodes) {
  const std::vector<Node> nodes = {{0, 2}, {2, 1}, {3, 1}, {4, 1}};
  EXPECT_EQ(combine_program(5, nodes), (std::vector<std::int32_t>{0, 1, 2, kAdd, kAdd, 3, kAdd}));
  EXPECT_EQ(combine_program(1, {{0, 1}}), std::vector<std::int32_t>{0});
}

// However a space is cut, its pieces are every element of every tensor once, and no padding.
TEST(Flat, PiecesOfAllCutsAreTheTensors) {
  FlatSpace space;
  for (const std::uint64_t elements : {5U, 3000U, 0U, 16U, 1024U, 1U}) {
    if (elements != 16) space.begin_group();
    space.add(elements);
  }
  space.finish();
  for (std::uint64_t cut = 0; cut <= space.elements(); cut += 100) {
    std::vector<std::vector<int>> seen;
    for (const Range& tensor : space.tensors()) seen.emplace_back(tensor.count, 0);
    const std::vector<Range> ranges = {{0, cut}, {cut, space.elements() - cut}};
    for (const std::vector<Range>& mine : {std::vector<Range>{ranges[0]}, {ranges[1]}}) {
      for (const Piece& piece : pieces_of(space, mine)) {
        EXPECT_EQ(piece.at, space.tensors()[piece.tensor].begin + piece.within);
        for (std::uint64_t i = 0; i < piece.count; ++i) ++seen[piece.tensor].at(piece.within + i);
      }
    }
    for (const auto& tensor : seen) {
      EXPECT_EQ(std::count(tensor.begin(), tensor.end(), 1), std::ssize(tensor));
    }
  }
}

}  // namespace
}  // namespace instep::reduce
