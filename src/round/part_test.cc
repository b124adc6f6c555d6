#include "round/part.h"

#include <gtest/gtest.h>

#include <vector>

namespace instep::round {
namespace {

using reduce::Node;

TEST(Part, RejectsCountsBeyondTheMail) {
  const std::vector<ShardRow> rows = {{0, 8, 0.5, 77}};
  const std::vector<Node> nodes = {{0, 1}};
  const std::vector<std::uint64_t> offsets = {64, kAbsent};
  const Part part{9, 3, Directive::kStop, rows, nodes, offsets, {}};
  std::vector<std::byte> mail(part_bytes(part));
  write_part(part, mail.data());
  auto back = read_part(mail);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->ticket, 9U);
  EXPECT_EQ(back->round, 3U);
  EXPECT_EQ(back->rows[0].drawn, 77U);
  EXPECT_EQ(back->directive, Directive::kStop);
  EXPECT_EQ(back->offsets[1], kAbsent);
  for (std::size_t cut = 0; cut < mail.size(); ++cut) {
    EXPECT_FALSE(read_part(std::span(mail).first(cut)).ok()) << cut;
  }
  for (std::size_t byte = 16; byte < 48; ++byte) {  // the four counts
    std::vector<std::byte> damaged = mail;
    damaged[byte] = std::byte{0xff};
    EXPECT_FALSE(read_part(damaged).ok()) << byte;
  }
}

}  // namespace
}  // namespace instep::round
