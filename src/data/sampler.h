// Which sample is computed where and when: splits, partition over shards, and the order within an
// epoch of data. All pure functions of (job, numbers of samples, classes).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "job/job.h"

namespace instep::data {

// A bijection of [0, size) that needs no table: a balanced Feistel network over the next even power
// of two, walked until the value falls inside (Black and Rogaway, Ciphers with Arbitrary Finite
// Domains, CT-RSA 2002, section 3). Expected number of walks below 4.
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t key);
  std::uint64_t operator()(std::uint64_t position) const;

 private:
  std::uint64_t size_ = 0, key_ = 0;
  std::uint32_t half_bits_ = 0;
};

// Sample numbers of a split; a null list means "all of them, in order".
struct Parts {
  std::vector<std::uint64_t> train, validation, test;
};
// `classes` may be empty unless split.stratified.
Parts split(std::uint64_t size, std::span<const std::int32_t> classes, const job::Split& split,
            std::uint64_t seed);

// Training samples of each shard and their order. Samples belong to shards, never to agents.
class Sampler {
 public:
  // `samples`: the training part. `classes`: of the whole table, needed for kStratified.
  // A shard takes batch / shards samples a round, the first batch % shards shards one more; the
  // last round of an epoch is short where a shard's samples run out, and is weighted by its
  // samples.
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
