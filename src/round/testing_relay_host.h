// A host of a made-up job (testing_relay_job.h) without its relay, and what it must have of a
// round.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "round/relay.h"
#include "round/testing_relay_job.h"

namespace instep::round {

// One host: its bridge's memory, and what its members would publish.
class RelayNode {
 public:
  RelayNode(const RelayJob& job, std::uint32_t id) : job_(job), id_(id) {
    const std::uint64_t bytes = (1U << 20) + 4 * job.targets.size() * job.elements * sizeof(float);
    arena_.reset(new (std::align_val_t{64}) std::byte[bytes]());
    auto world = World::make({arena_.get(), bytes}, words_,
                             {job.shards, job.elements, job.tensors, job.targets, job.coding,
                              kFullSamples, job.carried});
    EXPECT_TRUE(world.ok());
    world_.emplace(world.take());
  }

  // Members with runs of the shards, each added up to its canonical nodes.
  std::vector<LocalPart> parts(std::uint64_t round, const std::vector<std::uint32_t>& shards,
                               Random& random) {
    gradients_.clear();
    std::vector<LocalPart> out;
    for (std::size_t first = 0; first < shards.size();) {
      const std::size_t count = 1 + random.below(shards.size() - first);
      LocalPart& part = out.emplace_back();
      reduce::Merges merges;
      merges.assign(
          job_.shards,
          {shards.begin() + std::ptrdiff_t(first), shards.begin() + std::ptrdiff_t(first + count)},
          job_.coding.packs() ? job_.coding.nodes : job_.targets);
      part.nodes = merges.nodes();
      for (std::size_t i = first; i < first + count; ++i) {
        part.rows.push_back(
            {shards[i], samples_of(round, shards[i]), 0.5 * shards[i], mix(round, shards[i])});
      }
      part.directive = round == 2 && id_ == 0 ? Directive::kStop : Directive::kNone;
      first += count;
      for (const Node& node : part.nodes) {
        for (std::size_t t = 0; t < job_.tensors.size(); ++t) {
          if (!node_there(job_, round, node, t)) {
            part.sources.push_back(nullptr);
            continue;
          }
          auto& values = gradients_.emplace_back();
          for (std::uint64_t i = 0; i < job_.tensors[t].count; ++i) {
            values.push_back(oracle(job_, round, node, t, job_.tensors[t].begin + i));
          }
          part.sources.push_back(values.data());
        }
      }
    }
    return out;
  }

  // The same, while some of it is still computed.
  std::vector<LocalPart> open_parts(std::uint64_t round, const std::vector<std::uint32_t>& shards,
                                    Random& random) {
    std::vector<LocalPart> out = parts(round, shards, random);
    for (LocalPart& part : out) {
      for (const float*& source : part.sources) {
        part.pending.push_back(random.below(2) == 0 ? 1 : 0);
        if (part.pending.back() != 0) source = nullptr;
      }
    }
    return out;
  }
  // What it has computed is gone.
  void forget_parts() { gradients_.clear(); }

  World& world() { return *world_; }
  fabric::AgentWords& words() { return words_; }
  std::span<const std::byte> arena() const { return {arena_.get(), 1U << 20}; }

 private:
  struct Free {
    void operator()(std::byte* at) const { ::operator delete[](at, std::align_val_t{64}); }
  };
  const RelayJob& job_;
  const std::uint32_t id_;
  fabric::AgentWords words_{};
  std::unique_ptr<std::byte[], Free> arena_;
  std::optional<World> world_;
  std::deque<std::vector<float>> gradients_;
};

// The first blocks of a tensor and its last, and a few between.
inline void expect_coded(const RelayJob& job, RelayNode& host, std::uint64_t round,
                         std::size_t tensor) {
  const Range& place = job.tensors[tensor];
  for (std::uint64_t at = place.begin; at < place.end();) {
    const std::uint64_t left = reduce::kBlockElements - at % reduce::kBlockElements;
    const Range run{at, std::min(place.end() - at, left)};
    at = run.end();
    if (at != place.end() && run.begin > place.begin + 4096 && mix(round, run.begin) % 32 > 0) {
      continue;
    }
    const std::vector<float> expected = coded_oracle(job, round, tensor, run);
    for (std::size_t i = 0; i < run.count; ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(host.world().sum(round, 0)[run.begin + i]),
                bits_of(expected[i]))
          << "round " << round << " element " << run.begin + i;
    }
  }
}

inline void expect_sums(const RelayJob& job, RelayNode& host, std::uint64_t round, std::size_t g,
                        std::size_t tensor) {
  const Range& place = job.tensors[tensor];
  // Every element of the small ones, a few of the large ones.
  const std::uint64_t stride = place.count > 4000 ? 997 : 1;
  for (std::uint64_t at = place.begin; at < place.end(); at += stride) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(host.world().sum(round, g)[at]),
              bits_of(oracle(job, round, job.targets[g], tensor, at)))
        << "round " << round << " target " << g << " element " << at;
  }
}

inline void expect_whole(const RelayJob& job, RelayNode& host, std::uint64_t round) {
  const Whole* whole = host.world().whole(round);
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(whole->directive, round == 2 ? Directive::kStop : Directive::kNone);
  for (std::uint32_t shard = 0; shard < job.shards; ++shard) {
    EXPECT_EQ(whole->rows[shard].drawn, mix(round, shard));
  }
  for (std::size_t g = 0; g < job.targets.size(); ++g) {
    for (std::size_t t = 0; t < job.tensors.size(); ++t) {
      const bool any = node_there(job, round, job.targets[g], t);
      ASSERT_EQ(whole->present[g * job.tensors.size() + t] != 0, any);
      if (!any) continue;
      const bool carried = job.carried && t + 1 == job.tensors.size();
      job.coding.packs() && !carried ? expect_coded(job, host, round, t)
                                     : expect_sums(job, host, round, g, t);
    }
  }
}

// Of a block whose sums stand before the round is whole: some of it.
inline void expect_block(const RelayJob& job, RelayNode& host, std::uint64_t round,
                         std::uint64_t block, Random& random) {
  const Range range{block * reduce::kBlockElements, reduce::kBlockElements};
  for (std::size_t t = 0; t < job.tensors.size(); ++t) {
    const std::uint64_t begin = std::max(range.begin, job.tensors[t].begin);
    const std::uint64_t end = std::min(range.end(), job.tensors[t].end());
    if (begin >= end) continue;
    const std::uint64_t at = begin + random.below(end - begin);
    const bool coded = job.coding.packs() && !(job.carried && t + 1 == job.tensors.size());
    for (std::size_t g = 0; g < job.targets.size(); ++g) {
      if (!node_there(job, round, job.targets[g], t)) continue;
      if (coded && block % 8 != 0) continue;
      const float value = coded ? coded_oracle(job, round, t, {begin, end - begin})[at - begin]
                                : oracle(job, round, job.targets[g], t, at);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(host.world().sum(round, g)[at]), bits_of(value))
          << "round " << round << " target " << g << " element " << at;
    }
  }
}

}  // namespace instep::round
