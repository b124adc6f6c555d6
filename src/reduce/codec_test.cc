// Each codec against its stated bound, and the combine by way of one against its definition.
#include "reduce/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"

namespace instep::reduce {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Values of one magnitude or of all.
std::vector<float> some_values(Random& random, std::size_t count) {
  const int scale = static_cast<int>(random.below(160)) - 80;
  const bool wide = random.below(2) == 0;
  std::vector<float> out;
  for (std::size_t i = 0; i < count; ++i) {
    const int exponent = wide ? scale + static_cast<int>(random.below(20)) : scale;
    out.push_back(std::ldexp(static_cast<float>(random.uniform() * 2 - 1), exponent));
  }
  return out;
}

float largest(const std::vector<float>& values) {
  float most = 0;
  for (const float value : values) most = std::max(most, std::fabs(value));
  return most;
}

TEST(Codec, Bf16IsOffByAtMostItsBound) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<float> before = some_values(random, 1 + random.below(1500));
    std::vector<float> after = before;
    through_bf16(after.data(), after.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(after[i]) & 0xffff, 0U);
      EXPECT_LE(std::fabs(after[i] - before[i]), std::fabs(before[i]) * 0x1p-8F);
    }
    std::vector<float> again = after;
    through_bf16(again.data(), again.size());
    EXPECT_EQ(again, after) << "what is encoded already stays";
  }
}

TEST(Codec, Bf16RoundsTiesToEvenAndKeepsInfinities) {
  std::vector<float> values = {1 + 0x1p-8F,
                               1 + 0x3p-8F,
                               -0.0F,
                               kInfinity,
                               -kInfinity,
                               std::bit_cast<float>(0x7f800001U),
                               std::numeric_limits<float>::max()};
  through_bf16(values.data(), values.size());
  EXPECT_EQ(values[0], 1.0F);
  EXPECT_EQ(values[1], 1 + 0x4p-8F);
  EXPECT_TRUE(std::signbit(values[2]));
  EXPECT_EQ(values[3], kInfinity);
  EXPECT_EQ(values[4], -kInfinity);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(values[5]), 0x7fc00000U);
  EXPECT_EQ(values[6], kInfinity);
}

TEST(Codec, Int8IsOffByAtMostItsBound) {
  Random random(2);
  for (int round = 0; round < 200; ++round) {
    const std::vector<float> before = some_values(random, 1 + random.below(1024));
    std::vector<float> after = before;
    through_int8(after.data(), after.size());
    const double step = largest(before) / 127.0;
    std::vector<float> different;
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_LE(std::fabs(double(after[i]) - before[i]), step * (0.5 + 0x1p-15));
      different.push_back(std::fabs(after[i]));
    }
    std::sort(different.begin(), different.end());
    different.erase(std::unique(different.begin(), different.end()), different.end());
    EXPECT_LE(different.size(), 128U);
  }
}

TEST(Codec, Int8OfNothingAndOfWhatIsNotFinite) {
  std::vector<float> tiny = {0x1p-101F, -0x1p-120F, 0};
  through_int8(tiny.data(), tiny.size());
  EXPECT_EQ(tiny, std::vector<float>(3, 0.0F));
  through_int8(nullptr, 0);
  for (const float bad : {kInfinity, -kInfinity, kNaN}) {
    std::vector<float> values = {1, bad, 2};
    through_int8(values.data(), values.size());
    EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float it) { return it != it; }));
  }
}

// What may be among values, and is rare.
float odd_value(Random& random) {
  switch (random.below(6)) {
    case 0:
      return random.below(2) == 0 ? kInfinity : -kInfinity;
    case 1:
      return std::bit_cast<float>(0xff800001U + static_cast<std::uint32_t>(random.below(99)));
    case 2:
      return std::bit_cast<float>(static_cast<std::uint32_t>(random.below(1U << 23)));
    case 3:
      return random.below(2) == 0 ? -0.0F : 0.0F;
    case 4:
      return random.below(2) == 0 ? std::numeric_limits<float>::max() : -0x1.fffp127F;
    default:
      return std::bit_cast<float>(static_cast<std::uint32_t>(random.below(1ULL << 32)));
  }
}

TEST(Codec, WhatIsUnpackedIsWhatTheCodecLeaves) {
  Random random(5);
  for (const Codec codec : {Codec::kNone, Codec::kBf16, Codec::kInt8}) {
    for (int round = 0; round < 3000; ++round) {
      std::vector<float> values = some_values(random, 1 + random.below(round < 2000 ? 40 : 1024));
      if (round % 4 == 0) {
        const std::uint64_t odd = 1 + random.below(3);
        for (std::uint64_t i = 0; i < odd; ++i) {
          values[random.below(values.size())] = odd_value(random);
        }
      }
      if (round % 16 == 1) std::fill(values.begin(), values.end(), odd_value(random));
      // Not aligned, and nothing beyond its end.
      std::vector<std::byte> bytes(packed_bytes(codec, values.size()) + 2, std::byte{0x5a});
      pack(codec, values.data(), values.size(), bytes.data() + 1);
      ASSERT_EQ(bytes.front(), std::byte{0x5a});
      ASSERT_EQ(bytes.back(), std::byte{0x5a});
      std::vector<float> out(values.size());
      unpack(codec, bytes.data() + 1, out.size(), out.data());
      through(codec, values.data(), values.size());
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(values[i]))
            << "round " << round << " value " << i;
      }
    }
  }
}

TEST(Codec, PackedValuesAreSmall) {
  EXPECT_EQ(packed_bytes(Codec::kNone, 1024), 4096U);
  EXPECT_EQ(packed_bytes(Codec::kBf16, 1024), 2048U);
  EXPECT_EQ(packed_bytes(Codec::kInt8, 1024), 1028U);
}

// By the definition: all sorted, larger ones and earlier ones first.
std::vector<std::size_t> top(const std::vector<float>& values, std::size_t keep) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::fabs(values[a]) > std::fabs(values[b]);
  });
  order.resize(std::min(keep, values.size()));
  return order;
}

TEST(Codec, TopKSendsTheLargestAndKeepsTheOthersBack) {
  Random random(3);
  for (int round = 0; round < 400; ++round) {
    const std::size_t count = random.below(2) == 0 ? 1024 : 1 + random.below(1024);
    const std::size_t keep = 1 + random.below(random.below(2) == 0 ? 20 : count);
    std::vector<float> values = some_values(random, count);
    std::vector<float> standing = some_values(random, count);
    if (random.below(3) == 0) {  // many that are equal
      for (float& value : values) value = static_cast<float>(random.below(3));
      std::fill(standing.begin(), standing.end(), 0.0F);
    }
    std::vector<float> all(count);
    for (std::size_t i = 0; i < count; ++i) all[i] = values[i] + standing[i];
    std::vector<float> sent(count, 0.0F);
    for (const std::size_t i : top(all, keep)) sent[i] = all[i];
    std::vector<float> next(count, kNaN);
    through_top_k(values.data(), standing.data(), next.data(), count, keep);
    EXPECT_EQ(values, sent);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(values[i] + next[i], all[i]) << i;
  }
}

TEST(Codec, TopKKeepsNothingBackOfWhatIsNotFinite) {
  for (const float bad : {kInfinity, kNaN}) {
    std::vector<float> values = {1, bad, 2};
    const std::vector<float> standing = {3, 4, 5};
    std::vector<float> next(3, -1.0F);
    through_top_k(values.data(), standing.data(), next.data(), 3, 1);
    EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float it) { return it != it; }));
    EXPECT_EQ(next, standing);
  }
}

// The same bits however the shards are held: as single ones, or added up inside a node.
TEST(CodedCombiner, DoesNotDependOnHowANodeIsPublished) {
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    const auto shards = 1 + static_cast<std::uint32_t>(random.below(13));
    Coding coding;
    coding.codec = static_cast<Codec>(random.below(4));
    coding.nodes = cut_tree(shards, 1 + static_cast<std::uint32_t>(random.below(shards)));
    coding.keep = 0.05;
    const std::size_t count = 1 + random.below(1024);
    std::vector<std::vector<float>> leaves;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      leaves.push_back(some_values(random, count));
    }
    std::vector<std::vector<float>> standing, next[2];
    for (std::size_t node = 0; node < coding.nodes.size(); ++node) {
      standing.push_back(some_values(random, count));
      for (auto& it : next) it.emplace_back(count);
    }
    std::vector<float> out[2];
    for (int way = 0; way < 2; ++way) {
      Merges merges;
      std::vector<std::uint32_t> all(shards);
      std::iota(all.begin(), all.end(), 0U);
      // One who has them all and adds up as it goes, or one agent a shard.
      std::vector<std::vector<float>> parts;
      std::vector<Node> nodes;
      if (way == 0) {
        merges.assign(shards, all, coding.nodes);
        for (const std::uint32_t shard : all) {
          parts.push_back(leaves[shard]);
          for (std::uint32_t i = 0; i < merges.after(shard); ++i) {
            const std::vector<float> right = std::move(parts.back());
            parts.pop_back();
            add(parts.back().data(), parts.back().data(), right.data(), count);
          }
        }
        nodes = merges.nodes();
        EXPECT_EQ(nodes, coding.nodes);
      } else {
        parts = leaves;
        for (const std::uint32_t shard : all) nodes.push_back({shard, 1});
      }
      std::vector<const float*> rows;
      for (const auto& part : parts) rows.push_back(part.data());
      std::vector<Residual> residuals;
      for (std::size_t node = 0; node < coding.nodes.size(); ++node) {
        residuals.push_back({standing[node].data(), next[way][node].data()});
      }
      out[way].resize(count);
      CodedCombiner(shards, nodes, coding)
          .run(rows.data(), out[way].data(), count, 0.125F, residuals.data());
    }
    EXPECT_EQ(out[0], out[1]);
    EXPECT_EQ(next[0], next[1]);
  }
}

// E((E(a) + E(b)) * factor), written out.
TEST(CodedCombiner, EncodesEachNodeAndWhatComesBack) {
  const std::vector<float> a = {1.003F, -7}, b = {0.501F, 3};
  const float* rows[] = {a.data(), b.data()};
  std::vector<float> out(2);
  CodedCombiner(2, {{0, 1}, {1, 1}}, {Codec::kBf16, cut_tree(2, 2), 0})
      .run(rows, out.data(), 2, 0.3F, nullptr);
  std::vector<float> expected = a, other = b;
  through_bf16(expected.data(), 2);
  through_bf16(other.data(), 2);
  for (std::size_t i = 0; i < 2; ++i) expected[i] = (expected[i] + other[i]) * 0.3F;
  through_bf16(expected.data(), 2);
  EXPECT_EQ(out, expected);
  EXPECT_NE(out[0], (a[0] + b[0]) * 0.3F);
}

// Encoded by those who send, and in the end by who packs it: the same bits.
TEST(CodedCombiner, RelayedIsTheSameByWayOfBytes) {
  Random random(6);
  for (int round = 0; round < 300; ++round) {
    const auto shards = 1 + static_cast<std::uint32_t>(random.below(9));
    Coding coding;
    coding.codec = random.below(2) == 0 ? Codec::kBf16 : Codec::kInt8;
    coding.nodes = cut_tree(shards, 1 + static_cast<std::uint32_t>(random.below(shards)));
    const std::size_t count = 1 + random.below(300);
    std::vector<Node> nodes;
    std::vector<std::vector<float>> parts, encoded;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      nodes.push_back({shard, 1});
      parts.push_back(random.below(5) == 0 ? std::vector<float>() : some_values(random, count));
      encoded.push_back(parts.back());
      const auto& all = coding.nodes;
      if (std::find(all.begin(), all.end(), nodes.back()) == all.end()) continue;
      through(coding.codec, encoded.back().data(), encoded.back().size());
    }
    const auto rows_of = [](const std::vector<std::vector<float>>& of) {
      std::vector<const float*> rows;
      for (const auto& it : of) rows.push_back(it.empty() ? nullptr : it.data());
      return rows;
    };
    std::vector<float> here(count), relayed(count);
    CodedCombiner(shards, nodes, coding)
        .run(rows_of(parts).data(), here.data(), count, 0.3F, nullptr);
    CodedCombiner(shards, nodes, coding, true)
        .run(rows_of(encoded).data(), relayed.data(), count, 0.3F, nullptr);
    through(coding.codec, relayed.data(), count);
    EXPECT_EQ(here, relayed);
  }
}

TEST(CodedCombiner, RelayedEncodesNothingButSumsOfParts) {
  const std::vector<float> a = {1.003F, -7}, b = {0.501F, 3}, c = {0.25F, 0.001F};
  const float* rows[] = {a.data(), b.data(), c.data()};
  std::vector<float> out(2);
  // A node of two parts, and one that has come whole.
  CodedCombiner(3, {{0, 1}, {1, 1}, {2, 1}}, {Codec::kBf16, cut_tree(3, 2), 0}, true)
      .run(rows, out.data(), 2, 0.3F, nullptr);
  std::vector<float> sum = {a[0] + b[0], a[1] + b[1]};
  through_bf16(sum.data(), 2);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(out[i], (sum[i] + c[i]) * 0.3F);
}

TEST(CodedCombiner, AnAbsentNodeKeepsWhatItHasKeptBack) {
  const std::vector<float> a = {5, 1};
  const std::vector<float> standing[] = {{0, 2}, {3, 4}};
  std::vector<float> next[] = {{9, 9}, {9, 9}};
  const Residual residuals[] = {{standing[0].data(), next[0].data()},
                                {standing[1].data(), next[1].data()}};
  const float* rows[] = {a.data(), nullptr};
  std::vector<float> out(2, 9.0F);
  CodedCombiner combiner(2, {{0, 1}, {1, 1}}, {Codec::kTopK, cut_tree(2, 2), 0.5});
  combiner.run(rows, out.data(), 2, 1.0F, residuals);
  EXPECT_EQ(out, (std::vector<float>{5, 0}));
  EXPECT_EQ(next[0], (std::vector<float>{0, 3}));
  EXPECT_EQ(next[1], standing[1]);
  rows[0] = nullptr;
  combiner.run(rows, out.data(), 2, 1.0F, residuals);
  EXPECT_EQ(out, std::vector<float>(2, 0.0F));
}

}  // namespace
}  // namespace instep::reduce
