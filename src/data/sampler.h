// Which sample is computed where and when: splits, partition over shards, and the order within an
// epoch of data. All pure functions of (job, numbers of samples, classes).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "job/job.h"

namespace instep::data {

// A bijection of [0, size) that needs no table: a balanced Feistel network over the next even power
// of two, walked until the value falls inside (Black and Rogaway, Ciphers with Arbitrary Finite
// Domains, CT-RSA 2002, section 3). Expected number of walks below 4 from size 17 on; smaller sizes
// walk in 64 values, since with less the network is not yet uniform.
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t key);
  std::uint64_t operator()(std::uint64_t position) const;

 private:
  static constexpr std::size_t kRounds = 8;
  static constexpr std::uint32_t kMinHalfBits = 3;

  std::uint64_t size_ = 0;
  std::uint32_t half_bits_ = 0;
  std::array<std::uint64_t, kRounds> keys_{};
};

// Sample numbers of a split, each list ascending, together each number once. An empty list is an
// empty part; `train` keeps at least one sample.
struct Parts {
  std::vector<std::uint64_t> train, validation, test;
};
// `classes` may be empty unless split.stratified, which keeps each class's share in each part up to
// two samples. The caller clears split.test where the data brings a test set.
Parts split(std::uint64_t size, std::span<const std::int32_t> classes, const job::Split& split,
            std::uint64_t seed);

// Training samples of each shard and their order. Samples belong to shards, never to agents.
class Sampler {
 public:
  // `samples`: the training part. `classes`: of the whole table, needed for kStratified.
  // A shard takes shard_batch = batch / shards samples a round, the first batch % shards shards one
  // more, and the partition is dealt in the same proportion: rounds_per_epoch, the maximum over the
  // shards of ceil(shard_size / shard_batch), is ceil(size / batch), and only the last round of an
  // epoch is short; it is weighted by its samples. Shards from `batch` on, if any, have no samples.
  Sampler(std::vector<std::uint64_t> samples, std::span<const std::int32_t> classes,
          job::PartitionKind kind, std::uint32_t shards, std::uint64_t batch, std::uint64_t seed);

  std::uint64_t size() const;
  std::uint64_t shard_size(std::uint32_t shard) const;
  std::uint64_t rounds_per_epoch() const;
  // The number of samples of a shard in a round of an epoch; may be 0 in an epoch's last rounds.
  std::uint64_t batch_size(std::uint32_t shard, std::uint64_t round_in_epoch) const;
  // Their numbers, in order.
  void batch(std::uint32_t shard, std::uint64_t data_epoch, std::uint64_t round_in_epoch,
             std::vector<std::uint64_t>& out) const;

 private:
  std::uint64_t shard_batch(std::uint32_t shard) const;

  std::vector<std::uint64_t> samples_;  // grouped by shard
  std::vector<std::uint64_t> begin_;    // [shards + 1] into samples_
  std::uint32_t shards_;
  std::uint64_t batch_, seed_;
};

}  // namespace instep::data
