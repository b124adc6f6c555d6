// Rounds of several hosts as a test makes them up, and what a single machine would compute of them,
// by the definition.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <vector>

#include "base/random.h"
#include "reduce/codec.h"
#include "reduce/flat.h"
#include "reduce/tree.h"

namespace instep::round {

using reduce::Node;
using reduce::Range;

struct RelayJob {
  std::uint32_t shards = 1;
  std::vector<Range> tensors;
  std::uint64_t elements = 0;
  std::vector<Node> targets;
  bool absent = true;     // gradients may be
  reduce::Coding coding;  // that packs, or none
  bool carried = false;   // the last tensor
  bool odd = false;       // some gradients are not finite, or next to nothing
};

inline RelayJob make_job(Random& random, std::uint32_t least = 1) {
  RelayJob job;
  job.shards = least + static_cast<std::uint32_t>(random.below(9));
  std::uint64_t top = 0;
  for (std::uint64_t t = 0; t < 1 + random.below(4); ++t) {
    const std::uint64_t count = 1 + random.below(random.below(4) == 0 ? 150'000 : 3000);
    job.tensors.push_back({top, count});
    top = (top + count + 15) / 16 * 16;
  }
  job.elements =
      (top + reduce::kBlockElements - 1) / reduce::kBlockElements * reduce::kBlockElements;
  job.targets = reduce::cut_tree(
      job.shards, random.below(3) == 0 ? 1 + static_cast<std::uint32_t>(random.below(4)) : 1);
  return job;
}

// Of a packing codec: the bridges' targets are the root.
inline RelayJob make_coded_job(Random& random, std::uint32_t least = 1) {
  RelayJob job = make_job(random, least);
  job.targets = {{0, job.shards}};
  job.coding.codec = random.below(2) == 0 ? reduce::Codec::kBf16 : reduce::Codec::kInt8;
  job.coding.nodes =
      reduce::cut_tree(job.shards, 1 + static_cast<std::uint32_t>(random.below(job.shards)));
  job.carried = random.below(2) == 0;
  job.odd = random.below(3) == 0;
  return job;
}

inline constexpr std::uint32_t kFullSamples = 8;
inline std::uint32_t samples_of(std::uint64_t round, std::uint32_t shard) {
  return 1 + static_cast<std::uint32_t>(mix(round, shard, 3) % kFullSamples);
}

// A shard's gradient in a round: a value of its place, or none of a tensor.
inline float gradient(const RelayJob& job, std::uint64_t round, std::uint32_t shard,
                      std::uint64_t at) {
  const std::uint64_t bits = mix(round, shard, at);
  if (job.odd && (bits >> 32) % 4000 == 0)
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  return static_cast<float>(static_cast<std::int64_t>(bits % 2001) - 1000) * 0.37F;
}
inline bool there(const RelayJob& job, std::uint64_t round, std::uint32_t shard,
                  std::size_t tensor) {
  return !job.absent || mix(round, shard * 31 + tensor, 7) % 5 != 0;
}

inline bool node_there(const RelayJob& job, std::uint64_t round, const Node& node,
                       std::size_t tensor) {
  for (std::uint32_t s = node.first; s < node.first + node.count; ++s) {
    if (there(job, round, s, tensor)) return true;
  }
  return false;
}

// By the definition, absent + x = x.
inline float oracle(const RelayJob& job, std::uint64_t round, const Node& node, std::size_t tensor,
                    std::uint64_t at) {
  if (node.count == 1) return gradient(job, round, node.first, at);
  const std::uint32_t left = reduce::left_count(node.count);
  const Node a{node.first, left}, b{node.first + left, node.count - left};
  if (!node_there(job, round, a, tensor)) return oracle(job, round, b, tensor, at);
  if (!node_there(job, round, b, tensor)) return oracle(job, round, a, tensor, at);
  return oracle(job, round, a, tensor, at) + oracle(job, round, b, tensor, at);
}

// The node's part of a sum of encoded nodes, likewise. `parts`: [coding's nodes], empty: absent.
inline std::optional<float> coded_sum(const RelayJob& job,
                                      const std::vector<std::vector<float>>& parts,
                                      const Node& node, std::size_t i) {
  const auto& nodes = job.coding.nodes;
  const auto found = std::find(nodes.begin(), nodes.end(), node);
  if (found != nodes.end()) {
    const auto& part = parts[static_cast<std::size_t>(found - nodes.begin())];
    return part.empty() ? std::nullopt : std::optional(part[i]);
  }
  const std::uint32_t left = reduce::left_count(node.count);
  const auto a = coded_sum(job, parts, {node.first, left}, i);
  const auto b = coded_sum(job, parts, {node.first + left, node.count - left}, i);
  return a && b ? *a + *b : a ? a : b;
}

// A run of one tensor and block by way of the codec (reduce/codec.h).
inline std::vector<float> coded_oracle(const RelayJob& job, std::uint64_t round, std::size_t tensor,
                                       const Range& run) {
  std::vector<std::vector<float>> parts;
  for (const Node& node : job.coding.nodes) {
    std::vector<float>& part = parts.emplace_back();
    if (!node_there(job, round, node, tensor)) continue;
    for (std::uint64_t at = run.begin; at < run.end(); ++at) {
      part.push_back(oracle(job, round, node, tensor, at));
    }
    reduce::through(job.coding.codec, part.data(), part.size());
  }
  double samples = 0;
  for (std::uint32_t shard = 0; shard < job.shards; ++shard) samples += samples_of(round, shard);
  const auto factor = static_cast<float>(kFullSamples / samples);
  std::vector<float> out;
  for (std::size_t i = 0; i < run.count; ++i) {
    out.push_back(coded_sum(job, parts, {0, job.shards}, i).value_or(0.0F) * factor);
  }
  reduce::through(job.coding.codec, out.data(), out.size());
  return out;
}

inline std::uint32_t bits_of(float value) {
  // Which payload survives an addition depends on who adds.
  return std::bit_cast<std::uint32_t>(value == value ? value
                                                     : std::numeric_limits<float>::quiet_NaN());
}

}  // namespace instep::round
