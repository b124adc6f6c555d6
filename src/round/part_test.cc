#include "round/part.h"

#include <gtest/gtest.h>

#include <vector>

#include "fabric/arena.h"

namespace instep::round {
namespace {

using fabric::Arena;
using reduce::Node;

TEST(Part, RejectsCountsBeyondTheMail) {
  const std::vector<ShardRow> rows = {{0, 8, 0.5, 77}};
  const std::vector<Node> nodes = {{0, 1}};
  const std::vector<std::uint64_t> offsets = {64, Arena::kAbsent};
  const Part part{9, 3, Directive::kStop, rows, nodes, offsets, {}};
  std::vector<std::byte> mail(part_bytes(part));
  write_part(part, mail.data());
  auto back = read_part(mail);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->ticket, 9U);
  EXPECT_EQ(back->round, 3U);
  EXPECT_EQ(back->rows[0].drawn, 77U);
  EXPECT_EQ(back->directive, Directive::kStop);
  EXPECT_EQ(back->offsets[1], Arena::kAbsent);
  for (std::size_t cut = 0; cut < mail.size(); ++cut) {
    EXPECT_FALSE(read_part(std::span(mail).first(cut)).ok()) << cut;
  }
  for (std::size_t byte = 16; byte < 48; ++byte) {  // the four counts
    std::vector<std::byte> damaged = mail;
    damaged[byte] = std::byte{0xff};
    EXPECT_FALSE(read_part(damaged).ok()) << byte;
  }
}

TEST(Part, OpensBeforeAllOfItIsComputed) {
  const std::vector<Node> nodes = {{0, 2}, {2, 1}};
  const std::vector<std::uint64_t> offsets = {64, Arena::kAbsent, Arena::kPending, Arena::kPending};
  const std::vector<reduce::Range> tensors = {{0, 16}, {16, 8}};
  std::vector<std::byte> arena(256);
  Part part{9, 3, Directive::kNone, {}, nodes, offsets, {}, true};
  std::vector<std::byte> mail(part_bytes(part));
  write_part(part, mail.data());
  const auto back = read_part(mail);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->open);
  using Pending = std::vector<std::uint8_t>;
  const auto look = [&](Pending& pending) {
    std::vector<const float*> sources;
    pending.clear();
    EXPECT_TRUE(add_open_sources(*back, arena, tensors, sources, pending).ok());
    return sources;
  };
  Pending pending;
  const auto* first = reinterpret_cast<const float*>(arena.data() + 64);
  EXPECT_EQ(look(pending), (std::vector<const float*>{first, nullptr, nullptr, nullptr}));
  EXPECT_EQ(pending, (Pending{0, 0, 1, 1}));
  settle(mail.data(), 3, 128);
  EXPECT_EQ(look(pending)[3], first + 16);
  EXPECT_EQ(pending, (Pending{0, 0, 1, 0}));
  settle(mail.data(), 2, Arena::kAbsent);
  EXPECT_EQ(look(pending)[2], nullptr);
  EXPECT_EQ(pending, (Pending{0, 0, 0, 0}));
  // It has no rows yet.
  std::vector<const float*> sources;
  EXPECT_FALSE(add_sources(*back, arena, tensors, sources).ok());
  settle(mail.data(), 2, 200);  // 64 bytes of 256 from there
  EXPECT_FALSE(add_open_sources(*back, arena, tensors, sources, pending).ok());
}

TEST(Part, IsNoPartWhileSumsArePending) {
  const std::vector<Node> nodes = {{0, 1}};
  const std::vector<std::uint64_t> offsets = {Arena::kPending};
  const Part part{9, 3, Directive::kNone, {}, nodes, offsets, {}};
  std::vector<const float*> sources;
  EXPECT_FALSE(add_sources(part, {}, {{0, 16}}, sources).ok());
}

}  // namespace
}  // namespace instep::round
