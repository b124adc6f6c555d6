// Rounds as a test makes them up, and what a single machine would compute of them, element by
// element and by the definition.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "base/random.h"
#include "reduce/codec.h"
#include "reduce/flat.h"
#include "round/exchange.h"

namespace instep::round {

using reduce::Node;
using reduce::Range;

struct Case {
  std::uint32_t shards = 1, agents = 1;
  std::vector<std::uint64_t> lengths;
  bool judged = false, streams = false, servers = false, stops = false;
  double clip = 0;
  std::vector<std::vector<std::vector<float>>> gradient;  // [shard][tensor], empty: absent
  std::vector<ShardRow> rows;
  std::optional<Carried> carried;  // the last of lengths
  reduce::Coding coding;
};

inline float odd_value(Random& random) {
  const std::uint64_t kind = random.below(200);
  if (kind == 0) return std::numeric_limits<float>::infinity();
  if (kind == 1) return -std::numeric_limits<float>::infinity();
  if (kind == 2)
    return std::bit_cast<float>(0x7fc00001U + static_cast<std::uint32_t>(random.below(99)));
  if (kind == 3) return -0.0F;
  return static_cast<float>(random.uniform() * 2 - 1);
}

inline Case make_case(Random& random) {
  Case c;
  c.agents = 1 + static_cast<std::uint32_t>(random.below(8));
  c.shards = 1 + static_cast<std::uint32_t>(random.below(12));
  const bool special = random.below(4) == 0;
  static constexpr std::uint64_t kLengths[] = {0,  1,   2,    15,   16,   17,
                                               31, 333, 1023, 1024, 1025, 3001};
  const std::uint64_t tensors = random.below(4);
  for (std::uint64_t t = 0; t < tensors; ++t) {
    c.lengths.push_back(kLengths[random.below(random.below(4) == 0 ? std::size(kLengths) : 8)]);
  }
  c.judged = random.below(3) == 0;
  c.clip = c.judged && random.below(2) == 0 ? 0.5 : 0;
  c.streams = random.below(2) == 0;
  c.servers = random.below(3) == 0;
  c.stops = random.below(8) == 0;
  if (random.below(2) == 0) {
    c.coding.codec = static_cast<reduce::Codec>(1 + random.below(3));
    c.coding.nodes =
        reduce::cut_tree(c.shards, 1 + static_cast<std::uint32_t>(random.below(c.shards)));
    c.coding.keep = 0.02;
  }
  const bool carries = random.below(3) == 0;
  if (carries) {
    c.carried.emplace();
    std::uint64_t top = 0;
    for (std::uint64_t part = 0; part < 1 + random.below(4); ++part) {
      c.carried->parts.push_back({top, 1 + random.below(1500)});
      top = (c.carried->parts.back().end() + 15) / 16 * 16;
    }
    c.carried->flags = {top, c.carried->parts.size()};
    c.lengths.push_back(c.carried->flags.end());
  }
  for (std::uint32_t shard = 0; shard < c.shards; ++shard) {
    const std::uint32_t samples =
        random.below(6) == 0 ? 1 + static_cast<std::uint32_t>(random.below(8)) : 8;
    c.rows.push_back({shard, samples, random.uniform()});
    auto& tensors_of = c.gradient.emplace_back();
    for (const std::uint64_t length : c.lengths) {
      auto& values = tensors_of.emplace_back();
      if (random.below(10) == 0) continue;
      for (std::uint64_t i = 0; i < length; ++i) {
        values.push_back(special ? odd_value(random) : static_cast<float>(random.uniform() - 0.5));
      }
    }
    if (!carries) continue;
    auto& values = tensors_of.back();
    values.resize(c.lengths.back(), 0.25F);
    for (std::uint64_t i = c.carried->flags.begin; i < c.carried->flags.end(); ++i) {
      values[i] = random.below(3) == 0 ? 1.0F : 0.0F;
    }
  }
  return c;
}

inline float oracle_element(const Case& c, const Node& node, std::size_t tensor, std::uint64_t i,
                            bool& there) {
  if (node.count == 1) {
    const auto& values = c.gradient[node.first][tensor];
    there = !values.empty();
    if (!there) return 0;
    const float weight = static_cast<float>(c.rows[node.first].samples) / 8.0F;
    return weight == 1.0F ? values[i] : values[i] * weight;
  }
  const std::uint32_t left = reduce::left_count(node.count);
  bool a_there = false;
  bool b_there = false;
  const float a = oracle_element(c, {node.first, left}, tensor, i, a_there);
  const float b = oracle_element(c, {node.first + left, node.count - left}, tensor, i, b_there);
  there = a_there || b_there;
  return a_there && b_there ? a + b : a_there ? a : b;
}

inline float total_factor(const Case& c) {
  double samples = 0;
  for (const ShardRow& row : c.rows) samples += row.samples;
  return static_cast<float>(8.0 / samples);
}

// What owners keep back at first, by node: anything.
inline std::vector<std::vector<float>> first_kept(const Case& c, std::size_t elements) {
  std::vector<std::vector<float>> out(c.coding.nodes.size());
  for (std::size_t node = 0; node < out.size(); ++node) {
    for (std::size_t i = 0; i < elements; ++i) {
      out[node].push_back(static_cast<float>((i * 7 + node) % 11) * 0.01F);
    }
  }
  return out;
}

// One tensor by way of the codec: whole rows of nodes, encoded block by block, and added up.
inline void coded_oracle(const Case& c, const Range& place, std::size_t t, std::vector<float>& out,
                         std::vector<std::vector<float>>& kept_next) {
  const std::vector<std::vector<float>> kept = first_kept(c, out.size());
  const float factor = total_factor(c);
  for (std::uint64_t at = 0; at < place.count;) {
    const std::uint64_t flat = place.begin + at;
    const std::uint64_t run =
        std::min(place.count - at, reduce::kBlockElements - flat % reduce::kBlockElements);
    std::vector<std::vector<float>> sums(c.coding.nodes.size());
    for (std::size_t node = 0; node < sums.size(); ++node) {
      bool there = false;
      for (std::uint64_t i = at; i < at + run; ++i) {
        sums[node].push_back(oracle_element(c, c.coding.nodes[node], t, i, there));
      }
      float* next = kept_next[node].data() + flat;
      if (!there) {
        sums[node].clear();
        std::copy_n(kept[node].data() + flat, run, next);
      } else if (c.coding.codec == reduce::Codec::kBf16) {
        reduce::through_bf16(sums[node].data(), run);
      } else if (c.coding.codec == reduce::Codec::kInt8) {
        reduce::through_int8(sums[node].data(), run);
      } else {
        reduce::through_top_k(sums[node].data(), kept[node].data() + flat, next, run,
                              static_cast<std::size_t>(std::ceil(0.02 * double(run))));
      }
    }
    std::vector<const float*> rows;
    for (const auto& sum : sums) rows.push_back(sum.empty() ? nullptr : sum.data());
    reduce::Combiner(c.shards, c.coding.nodes)
        .run(rows.data(), out.data() + flat, run, factor, false);
    if (c.coding.codec == reduce::Codec::kBf16) reduce::through_bf16(out.data() + flat, run);
    if (c.coding.codec == reduce::Codec::kInt8) reduce::through_int8(out.data() + flat, run);
    at += run;
  }
}

inline std::vector<float> oracle(const Case& c, const reduce::FlatSpace& space,
                                 std::vector<std::vector<float>>& kept_next) {
  std::vector<float> out(space.elements(), 0.0F);
  const float factor = total_factor(c);
  for (std::size_t t = 0; t < c.lengths.size(); ++t) {
    const Range& place = space.tensors()[t];
    if (c.coding.codec != reduce::Codec::kNone && !(c.carried && t + 1 == c.lengths.size())) {
      coded_oracle(c, place, t, out, kept_next);
      continue;
    }
    for (std::uint64_t i = 0; i < c.lengths[t]; ++i) {
      bool there = false;
      const float sum = oracle_element(c, {0, c.shards}, t, i, there);
      float mean = there ? sum * factor : 0.0F;
      if (mean != mean) mean = std::numeric_limits<float>::quiet_NaN();
      out[place.begin + i] = mean;
    }
  }
  return out;
}

// What becomes of the carried tensor: the mean, but of the parts that no shard has changed.
inline std::vector<float> carried_oracle(const Case& c, const float* combined, const float* old) {
  std::vector<float> out(combined, combined + c.lengths.back());
  for (std::size_t part = 0; part < c.carried->parts.size(); ++part) {
    const bool changed = std::any_of(c.gradient.begin(), c.gradient.end(), [&](const auto& of) {
      return of.back()[c.carried->flags.begin + part] != 0;
    });
    const Range& place = c.carried->parts[part];
    if (!changed) std::copy_n(old + place.begin, place.count, out.data() + place.begin);
  }
  return out;
}

// The flat space of a case.
inline reduce::FlatSpace space_of(const Case& c) {
  reduce::FlatSpace space;
  if (!c.lengths.empty()) space.begin_group();
  for (std::size_t t = 0; t < c.lengths.size(); ++t) {
    if (c.carried && t + 1 == c.lengths.size()) space.begin_group();
    space.add(c.lengths[t]);
  }
  space.finish();
  return space;
}

// Where the carried tensor begins; behind everything if there is none.
inline std::uint64_t carried_begin(const Case& c, const reduce::FlatSpace& space) {
  return c.carried ? space.tensors().back().begin : space.elements();
}

// What comes out of a round whose owners apply next = old + factor * combined.
struct Truth {
  bool is_void = false;
  std::vector<float> next;
  std::vector<std::vector<float>> kept;  // by the coding's nodes
};

inline Truth truth_of(const Case& c, const float* old) {
  const reduce::FlatSpace space = space_of(c);
  const std::uint64_t carried_at = carried_begin(c, space);
  Truth out;
  out.kept = first_kept(c, space.elements());
  out.is_void = std::any_of(c.rows.begin(), c.rows.end(),
                            [](const ShardRow& row) { return !std::isfinite(row.loss); });
  const std::vector<float> combined = oracle(c, space, out.kept);
  float factor = 1;
  if (c.judged) {
    std::vector<double> sums;
    for (std::size_t b = 0; b < combined.size(); b += reduce::kBlockElements) {
      sums.push_back(b >= carried_at
                         ? 0
                         : reduce::sum_of_squares(combined.data() + b, reduce::kBlockElements));
    }
    const double norm = std::sqrt(reduce::tree_sum(sums));
    out.is_void = out.is_void || !std::isfinite(norm);
    if (c.clip > 0) factor = static_cast<float>(std::min(1.0, c.clip / (norm + 1e-6)));
  }
  std::vector<float> carried;
  if (c.carried) carried = carried_oracle(c, combined.data() + carried_at, old + carried_at);
  carried.resize(combined.size() - carried_at, 0.0F);
  for (std::size_t i = 0; i < combined.size(); ++i) {
    out.next.push_back(out.is_void       ? old[i]
                       : i >= carried_at ? carried[i - carried_at]
                                         : old[i] + factor * combined[i]);
  }
  return out;
}

}  // namespace instep::round
