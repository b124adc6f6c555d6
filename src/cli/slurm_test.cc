#include "cli/slurm.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/text.h"

namespace instep::cli {
namespace {

TEST(FirstNode, OfListsAsSlurmWritesThem) {
  for (const auto& [list, node] : {std::pair("node1", "node1"),
                                   {"node1,node0", "node1"},
                                   {"node[01-04]", "node01"},
                                   {"node[007,009-012],login", "node007"},
                                   {"login,node[1-2]", "login"},
                                   {"rack[2-3]-n[1,4-5].cluster", "rack2-n1.cluster"},
                                   {"[3-5]", "3"},
                                   {"10.0.0.7,10.0.0.8", "10.0.0.7"},
                                   {"a_b-c[0]", "a_b-c0"}}) {
    const auto read = first_node(list);
    ASSERT_TRUE(read.ok()) << list << ": " << read.error().message;
    EXPECT_EQ(*read, node) << list;
  }
}

TEST(FirstNode, WhatIsNoListIsRefused) {
  for (const char* list : {"",
                           ",",
                           "a,",
                           ",a",
                           "a,,b",
                           "node[",
                           "node[]",
                           "node[1",
                           "node[1-]",
                           "node[-1]",
                           "node[2-1]",
                           "node[1,]",
                           "node[a]",
                           "node]",
                           "node[1]]",
                           "node 1",
                           "node1;reboot",
                           "node[99999999999]",
                           "node[1-2-3]",
                           "kn\xc3\xb6ll",
                           "node1,node[2"}) {
    const auto read = first_node(list);
    EXPECT_FALSE(read.ok()) << list << " is " << *read;
  }
  EXPECT_EQ(first_node("node[").error().message,
            "'node[' is no list of nodes; it looks like node[01-04,07],login1");
}

TEST(CountTasks, OnANodeAndOnAll) {
  EXPECT_EQ(*count_tasks("4", 0), (TaskCount{4, 4}));
  EXPECT_EQ(*count_tasks("2(x3),1", 0), (TaskCount{2, 7}));
  EXPECT_EQ(*count_tasks("2(x3),1", 2), (TaskCount{2, 7}));
  EXPECT_EQ(*count_tasks("2(x3),1", 3), (TaskCount{1, 7}));
  EXPECT_EQ(*count_tasks("1,2,3(x2)", 1), (TaskCount{2, 9}));
  EXPECT_EQ(count_tasks("4294967295(x4294967295)", 7)->here, 4294967295U);
  EXPECT_EQ(count_tasks("2(x3),1", 4).error().message,
            "'2(x3),1' is of 4 nodes, and this one has number 4");
  EXPECT_EQ(count_tasks("2(x3", 0).error().message,
            "'2(x3' says no tasks by node; it looks like 2(x3),1");
  for (const char* text : {"", ",", "2,", "2(x)", "2(3)", "x2", "-1", "2 ", "2(x3),", "2(x-1)"}) {
    EXPECT_FALSE(count_tasks(text, 0).ok()) << text;
  }
}

// Whatever the environment holds is read, or refused, and never more than that.
TEST(Slurm, TextsAtRandom) {
  constexpr std::string_view kLetters = "n01[]-,(x) .";
  Random random(1);
  int good = 0;
  for (int k = 0; k < 20'000; ++k) {
    std::string text;
    for (std::uint64_t left = random.below(12); left > 0; --left) {
      text += kLetters[random.below(kLetters.size())];
    }
    if (const auto node = first_node(text); node.ok()) {
      ++good;
      EXPECT_EQ(*first_node(*node), *node) << text;
    }
    if (const auto count = count_tasks(text, 0); count.ok()) {
      ++good;
      EXPECT_LE(count->here, count->total) << text;
    }
  }
  EXPECT_GT(good, 1000);
}

}  // namespace
}  // namespace instep::cli
