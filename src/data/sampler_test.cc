#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/random.h"

namespace instep::data {
namespace {

using job::PartitionKind;
using Samples = std::vector<std::uint64_t>;

Samples first(std::uint64_t size) {
  Samples out(size);
  std::iota(out.begin(), out.end(), std::uint64_t{0});
  return out;
}

std::vector<std::int32_t> skewed_classes(std::uint64_t size) {
  std::vector<std::int32_t> out(size);
  Random random(size);
  for (auto& value : out) value = static_cast<std::int32_t>(random.below(2) * random.below(4));
  return out;
}

Samples whole_shard(const Sampler& sampler, std::uint32_t shard, std::uint64_t data_epoch) {
  Samples out;
  Samples batch;
  for (std::uint64_t round = 0; round < sampler.rounds_per_epoch(); ++round) {
    sampler.batch(shard, data_epoch, round, batch);
    EXPECT_EQ(batch.size(), sampler.batch_size(shard, round));
    out.insert(out.end(), batch.begin(), batch.end());
  }
  EXPECT_EQ(out.size(), sampler.shard_size(shard));
  return out;
}

struct Case {
  std::uint64_t size, batch;
  std::uint32_t shards;
};

// Each sample exactly once an epoch, full batches in all rounds but the last, and as few rounds as
// the batch allows.
void expect_exact(const Case& c, PartitionKind kind) {
  SCOPED_TRACE(::testing::Message() << "size " << c.size << " batch " << c.batch << " shards "
                                    << c.shards << " kind " << static_cast<int>(kind));
  const auto classes = skewed_classes(3 * c.size + 1);
  Samples samples = first(c.size);
  for (auto& sample : samples) sample = 3 * sample + 1;  // a split's part is no whole range
  const Sampler sampler(samples, classes, kind, c.shards, c.batch, 5);
  ASSERT_EQ(sampler.size(), c.size);
  const std::uint64_t rounds = sampler.rounds_per_epoch();
  ASSERT_EQ(rounds, (c.size + c.batch - 1) / c.batch);
  for (std::uint64_t round = 0; round <= rounds; ++round) {
    std::uint64_t sum = 0;
    for (std::uint32_t s = 0; s < c.shards; ++s) sum += sampler.batch_size(s, round);
    ASSERT_EQ(sum, std::min(c.batch, c.size - std::min(c.size, round * c.batch)));
  }
  for (const std::uint64_t data_epoch : {0, 1}) {
    Samples seen;
    for (std::uint32_t s = 0; s < c.shards; ++s) {
      const Samples part = whole_shard(sampler, s, data_epoch);
      seen.insert(seen.end(), part.begin(), part.end());
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen, samples);
  }
}

constexpr PartitionKind kKinds[] = {PartitionKind::kContiguous, PartitionKind::kRoundRobin,
                                    PartitionKind::kRandom, PartitionKind::kStratified};

TEST(Sampler, EachSampleOnceAnEpoch) {
  for (const PartitionKind kind : kKinds) {
    for (const std::uint64_t size : {1, 2, 7, 8, 9, 63, 64, 65, 100, 257}) {
      for (const std::uint64_t batch : {1, 2, 3, 8, 10, 64, 300}) {
        for (const std::uint32_t shards : {1, 2, 3, 7, 8, 12})
          expect_exact({size, batch, shards}, kind);
      }
    }
    Random random(17);
    for (int run = 0; run < 100; ++run) {
      expect_exact({1 + random.below(500), 1 + random.below(120),
                    static_cast<std::uint32_t>(1 + random.below(40))},
                   kind);
    }
  }
}

TEST(Sampler, NoSamplesNoRounds) {
  const Sampler sampler({}, {}, PartitionKind::kRandom, 4, 8, 1);
  EXPECT_EQ(sampler.rounds_per_epoch(), 0u);
  EXPECT_EQ(sampler.batch_size(3, 0), 0u);
}

TEST(Sampler, ShardsAreEvenWhereTheBatchIs) {
  const Sampler sampler(first(1003), {}, PartitionKind::kContiguous, 8, 64, 1);
  for (std::uint32_t s = 0; s < 8; ++s) {
    EXPECT_GE(sampler.shard_size(s), 125u);
    EXPECT_LE(sampler.shard_size(s), 126u);
  }
}

TEST(Sampler, OrderDiffersByEpochShardAndSeed) {
  const auto positions = [](std::uint64_t seed, std::uint32_t shard, std::uint64_t data_epoch) {
    const Sampler sampler(first(400), {}, PartitionKind::kContiguous, 4, 40, seed);
    Samples out = whole_shard(sampler, shard, data_epoch);
    for (auto& sample : out) sample -= shard * 100;
    return out;
  };
  const std::set<Samples> orders = {positions(1, 0, 0), positions(1, 0, 1), positions(1, 1, 0),
                                    positions(2, 0, 0), positions(1, 0, 2), first(100)};
  EXPECT_EQ(orders.size(), 6u);
  EXPECT_EQ(positions(1, 2, 3), positions(1, 2, 3));
}

TEST(Sampler, ContiguousAndRoundRobinAreWhatTheySay) {
  const auto sorted_shard = [](PartitionKind kind, std::uint32_t shard) {
    Samples out = whole_shard(Sampler(first(20), {}, kind, 4, 8, 1), shard, 0);
    std::sort(out.begin(), out.end());
    return out;
  };
  EXPECT_EQ(sorted_shard(PartitionKind::kContiguous, 1), (Samples{5, 6, 7, 8, 9}));
  EXPECT_EQ(sorted_shard(PartitionKind::kRoundRobin, 1), (Samples{1, 5, 9, 13, 17}));
  EXPECT_NE(sorted_shard(PartitionKind::kRandom, 1), (Samples{5, 6, 7, 8, 9}));
  EXPECT_NE(sorted_shard(PartitionKind::kRandom, 1), (Samples{1, 5, 9, 13, 17}));
}

TEST(Sampler, StratifiedShardsHaveEachClassesShare) {
  const auto classes = skewed_classes(1000);
  const Sampler sampler(first(1000), classes, PartitionKind::kStratified, 8, 64, 3);
  std::vector<int> total(4);
  for (const std::int32_t c : classes) ++total[static_cast<std::size_t>(c)];
  for (std::uint32_t s = 0; s < 8; ++s) {
    std::vector<int> count(4);
    for (const std::uint64_t sample : whole_shard(sampler, s, 0)) {
      ++count[static_cast<std::size_t>(classes[sample])];
    }
    for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(count[c], total[c] / 8.0, 1) << s << " " << c;
  }
}

void expect_split(std::uint64_t size, const job::Split& how, std::uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << size << " " << how.validation << " " << how.test);
  const auto classes = skewed_classes(size);
  const Parts parts = split(size, classes, how, seed);
  const auto due = [&](double part) { return std::llround(part * static_cast<double>(size)); };
  EXPECT_GE(parts.train.size(), 1u);
  if (size >= 10) {
    EXPECT_EQ(static_cast<long long>(parts.test.size()), due(how.test));
    EXPECT_EQ(static_cast<long long>(parts.validation.size()), due(how.validation));
  }
  Samples together;
  for (const Samples* part : {&parts.train, &parts.validation, &parts.test}) {
    EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
    together.insert(together.end(), part->begin(), part->end());
  }
  std::sort(together.begin(), together.end());
  EXPECT_EQ(together, first(size));
  if (!how.stratified) return;
  std::vector<double> total(4), validation(4), test(4);
  for (const std::int32_t c : classes) ++total[static_cast<std::size_t>(c)];
  for (const std::uint64_t s : parts.test) ++test[static_cast<std::size_t>(classes[s])];
  for (const std::uint64_t s : parts.validation) ++validation[static_cast<std::size_t>(classes[s])];
  for (std::size_t c = 0; c < 4; ++c) {
    EXPECT_NEAR(test[c], total[c] * how.test, 2);
    EXPECT_NEAR(validation[c], total[c] * how.validation, 2);
  }
}

TEST(Split, EverySampleInOnePart) {
  for (const std::uint64_t size : {1, 2, 3, 10, 99, 1000, 5003}) {
    for (const bool stratified : {false, true}) {
      expect_split(size, {0, 0, stratified}, 1);
      expect_split(size, {0.1, 0, stratified}, 1);
      expect_split(size, {0, 0.2, stratified}, 2);
      expect_split(size, {0.25, 0.33, stratified}, 3);
    }
  }
}

TEST(Split, FractionsThatTakeAllLeaveATrainingSample) {
  const Parts parts = split(10, {}, {0.9, 0.9, false}, 1);
  EXPECT_EQ(parts.train.size(), 1u);
  EXPECT_EQ(parts.test.size(), 9u);
  EXPECT_TRUE(parts.validation.empty());
}

TEST(Split, TheSeedDecides) {
  const job::Split how{0.3, 0, false};
  EXPECT_EQ(split(100, {}, how, 1).validation, split(100, {}, how, 1).validation);
  EXPECT_NE(split(100, {}, how, 1).validation, split(100, {}, how, 2).validation);
}

}  // namespace
}  // namespace instep::data
