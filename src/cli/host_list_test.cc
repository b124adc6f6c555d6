#include "cli/host_list.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/text.h"

namespace instep::cli {
namespace {

using Hosts = std::vector<ListedHost>;

TEST(HostFile, LinesOfAllKinds) {
  const auto read = parse_host_file(
      "# our machines\n"
      "node1\n"
      "\n"
      "node2 slots=4\r\n"
      "  node3:2   # old\n"
      "node4 slots = 8 max_slots=3\n"
      "node5 max-slots=5\n"
      "me@node6 max_slots=9 slots=7\n"
      "[fd00::2]:4\n"
      "[fe80::1%eth0]",
      "hosts");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, (Hosts{{"node1", {}},
                          {"node2", 4},
                          {"node3", 2},
                          {"node4", 3},
                          {"node5", 5},
                          {"me@node6", 7},
                          {"fd00::2", 4},
                          {"fe80::1%eth0", {}}}));
}

TEST(HostFile, WhatIsWrongIsSaidWithItsLine) {
  const auto error = [](const std::string& text) {
    const auto read = parse_host_file("good\n" + text, "hosts");
    return read.ok() ? "no error" : read.error().message;
  };
  const std::string slots = "; allowed: 1 to 64 slots";
  const std::string form = "; allowed: a host as NAME, NAME:SLOTS or [IPV6]:SLOTS";
  const std::string keys = "; allowed: slots=N and max_slots=N behind a host's name";
  EXPECT_EQ(error("a slots=0"), "hosts:2: found '0'" + slots);
  EXPECT_EQ(error("a slots=-3"), "hosts:2: found '-3'" + slots);
  EXPECT_EQ(error("a:65"), "hosts:2: found '65'" + slots);
  EXPECT_EQ(error("a:"), "hosts:2: found ''" + slots);
  EXPECT_EQ(error("a slots=4294967297"), "hosts:2: found '4294967297'" + slots);
  EXPECT_EQ(error("a:1:2"), "hosts:2: found 'a:1:2'" + form);
  EXPECT_EQ(error("fd00::2"), "hosts:2: found 'fd00::2'" + form);
  EXPECT_EQ(error("-oProxyCommand"), "hosts:2: found '-oProxyCommand'" + form);
  EXPECT_EQ(error("[-x]"), "hosts:2: found '[-x]'" + form);
  EXPECT_EQ(error("../a"), "hosts:2: found '../a'" + form);
  EXPECT_EQ(error("a;b"), "hosts:2: found 'a;b'" + form);
  EXPECT_EQ(error("a\x1b"), "hosts:2: found 'a?'" + form);
  EXPECT_EQ(error("[::1]4"), "hosts:2: found '[::1]4'" + form);
  EXPECT_EQ(error("a[b]"), "hosts:2: found 'a[b]'" + form);
  EXPECT_EQ(error("=4"), "hosts:2: found '='" + form);
  EXPECT_EQ(error("a b"), "hosts:2: found 'b'" + keys);
  EXPECT_EQ(error("a slots"), "hosts:2: found 'slots'" + keys);
  EXPECT_EQ(error("a slots="), "hosts:2: found 'slots'" + keys);
  EXPECT_EQ(error("a slots 4 4"), "hosts:2: found 'slots'" + keys);
  EXPECT_EQ(error("a:4 slots=4"), "hosts:2: slots of a are given twice");
  EXPECT_EQ(error("\ngood:2"),
            "hosts:3: host good is listed twice, first in line 1; give all its slots in one place");
  EXPECT_EQ(parse_host_file(" \n# none\n", "hosts").error().message,
            "hosts lists no host; allowed: a line a host, as 'node1 slots=4'");
}

TEST(HostWords, NamesWithSlots) {
  EXPECT_EQ(*parse_host_words("a"), (Hosts{{"a", {}}}));
  EXPECT_EQ(*parse_host_words("a,b:4,10.0.0.3,[::1]:2"),
            (Hosts{{"a", {}}, {"b", 4}, {"10.0.0.3", {}}, {"::1", 2}}));
  for (const char* text : {"", ",", "a,", "a,,b", "a:0", "a, b", "a,a:2"}) {
    const auto read = parse_host_words(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_TRUE(read.error().message.starts_with("--hosts: ")) << read.error().message;
  }
}

// Whatever the text, what is read can be given to a command, names a file, and keeps to the limits.
TEST(HostFile, RandomTextsGiveHostsOrAnError) {
  const std::vector<std::string> pieces = {"a",
                                           "b7",
                                           ":",
                                           "4",
                                           "slots",
                                           "=",
                                           "[",
                                           "]",
                                           "::",
                                           "\n",
                                           " ",
                                           "#",
                                           ",",
                                           "max_slots",
                                           "-",
                                           "0",
                                           "@",
                                           "%",
                                           std::string(1, 0),
                                           "65536",
                                           "\xff",
                                           "..",
                                           "/",
                                           "\t"};
  Random random(1);
  int good = 0;
  for (int k = 0; k < 20'000; ++k) {
    std::string text;
    for (std::uint64_t left = random.below(12); left > 0; --left) {
      text += pieces[random.below(pieces.size())];
    }
    for (const auto& read : {parse_host_file(text, "f"), parse_host_words(text)}) {
      if (!read.ok()) {
        EXPECT_FALSE(read.error().message.empty());
        EXPECT_EQ(read.error().message.find_first_of("\n\t"), std::string::npos) << text;
        continue;
      }
      ++good;
      EXPECT_FALSE(read->empty());
      for (const ListedHost& host : *read) {
        EXPECT_FALSE(host.name.empty() || host.name[0] == '-' || host.name[0] == '.') << text;
        EXPECT_EQ(host.name.find_first_of("/ \n=#,[]"), std::string::npos) << text;
        EXPECT_TRUE(!host.slots || (*host.slots >= 1 && *host.slots <= 64)) << text;
      }
    }
  }
  EXPECT_GT(good, 1'000);
}

}  // namespace
}  // namespace instep::cli
