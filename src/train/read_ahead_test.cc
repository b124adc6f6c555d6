#include "train/read_ahead.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "train/batches.h"

namespace instep::train {
namespace {

// A table of its own memory: 103 samples of [2, 3] bytes with classes, or of values with targets,
// or of 6 tokens.
struct Fixture {
  explicit Fixture(data::Kind kind, bool targets = false) {
    table->size = 103;
    table->kind = kind;
    table->shape = {2, 3};
    if (kind == data::Kind::kTokens) table->shape = {6};
    for (std::uint64_t i = 0; i < 103 * 6 + 1; ++i) {
      bytes.push_back(static_cast<std::uint8_t>(i * 37));
      reals.push_back(static_cast<float>(i) / 7);
    }
    const bool f32 = kind == data::Kind::kF32;
    table->values = f32 ? reinterpret_cast<const std::byte*>(reals.data())
                        : reinterpret_cast<const std::byte*>(bytes.data());
    for (int i = 0; i < 103; ++i) classes.push_back(i % 5);
    if (targets) {
      table->targets = reals.data();
      table->target_width = 2;
    } else if (kind != data::Kind::kTokens) {
      table->classes = classes.data();
    }
    table->scale = 1.0F / 3;
  }
  ReadAhead make(std::vector<std::uint32_t> shards, bool ahead) const {
    return {table, sampler, {std::move(shards), sampler.rounds_per_epoch(), rounds, ahead, {}}};
  }
  // What a shard's batch must be.
  Batch due(std::uint32_t shard, std::uint64_t round) {
    sampler.batch(shard, round / sampler.rounds_per_epoch(), round % sampler.rounds_per_epoch(),
                  numbers);
    return make_batch(*table, numbers);
  }

  std::shared_ptr<data::Table> table = std::make_shared<data::Table>();
  std::vector<std::uint8_t> bytes;
  std::vector<float> reals;
  std::vector<std::int32_t> classes;
  std::vector<std::uint64_t> numbers;
  const data::Sampler sampler{data::first_samples(103), {}, job::PartitionKind::kRandom, 5, 16, 3};
  const std::uint64_t rounds = 4 * sampler.rounds_per_epoch();
};

void expect_due(Fixture& fixture, const Batch& batch, std::uint32_t shard, std::uint64_t round) {
  const Batch due = fixture.due(shard, round);
  ASSERT_TRUE(batch.data.sizes() == due.data.sizes() && at::equal(batch.data, due.data))
      << "shard " << shard << " round " << round;
  ASSERT_TRUE(batch.target.sizes() == due.target.sizes() && at::equal(batch.target, due.target));
  ASSERT_EQ(batch.data.scalar_type(), due.data.scalar_type());
  ASSERT_EQ(batch.target.scalar_type(), due.target.scalar_type());
  ASSERT_TRUE(std::equal(batch.samples.begin(), batch.samples.end(), fixture.numbers.begin(),
                         fixture.numbers.end()));
  ASSERT_EQ(batch.shard, shard);
  ASSERT_EQ(batch.round, round);
  ASSERT_EQ(reinterpret_cast<std::uintptr_t>(batch.data.const_data_ptr()) % 64, 0U)
      << "addresses change bits";
}

// As the loop does it: shards without samples in a round are passed over. `patient`: each round
// waits until the thread has made the next one's.
void run_all(Fixture& fixture, ReadAhead& batches, const std::vector<std::uint32_t>& shards,
             std::uint64_t first, bool patient = false) {
  const auto samples = [&](std::uint32_t shard, std::uint64_t round) {
    return fixture.sampler.batch_size(shard, round % fixture.sampler.rounds_per_epoch());
  };
  for (std::uint64_t round = first; round < fixture.rounds; ++round) {
    batches.begin_round(round);
    for (std::size_t i = 0; patient && round + 1 < fixture.rounds && i < shards.size(); ++i) {
      if (samples(shards[i], round + 1) == 0) continue;
      while (!batches.made_ahead(i)) std::this_thread::yield();
    }
    for (std::size_t i = 0; i < shards.size(); ++i) {
      if (samples(shards[i], round) == 0) continue;
      expect_due(fixture, batches.take(i), shards[i], round);
      ASSERT_TRUE(std::ranges::equal(batches.samples(i), fixture.numbers));
    }
  }
}

TEST(ReadAhead, MakesTheSameBatchesWhoeverDoesIt) {
  for (const data::Kind kind : {data::Kind::kU8, data::Kind::kF32, data::Kind::kTokens}) {
    for (const bool targets : {false, true}) {
      if (targets && kind == data::Kind::kTokens) continue;
      for (const int how : {0, 1, 2}) {  // alone; with the thread; with all of it made ahead
        Fixture fixture(kind, targets);
        const std::vector<std::uint32_t> shards = {1, 2, 3};
        ReadAhead batches = fixture.make(shards, how > 0);
        run_all(fixture, batches, shards, 0, how == 2);
        EXPECT_GT(batches.waited_ms(), 0);
      }
    }
  }
}

TEST(ReadAhead, BeginsAndGoesOnAnywhere) {
  Fixture fixture(data::Kind::kU8);
  ReadAhead batches = fixture.make({4}, true);
  batches.begin_round(2);  // orders round 3, which never comes
  run_all(fixture, batches, {4}, 9);
  run_all(fixture, batches, {4}, 0);
}

// A batch that a program keeps stays as it was, however many rounds come after.
TEST(ReadAhead, KeptTensorsAreTheirOwn) {
  Fixture fixture(data::Kind::kF32);
  ReadAhead batches = fixture.make({0, 1}, true);
  std::vector<at::Tensor> kept, copies;
  for (std::uint64_t round = 0; round < fixture.rounds; ++round) {
    batches.begin_round(round);
    while (round + 1 < fixture.rounds && !batches.made_ahead(1)) std::this_thread::yield();
    if (fixture.sampler.batch_size(0, round % fixture.sampler.rounds_per_epoch()) == 0) continue;
    kept.push_back(batches.take(0).data);
    copies.push_back(kept.back().clone());
  }
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(at::equal(kept[i], copies[i])) << i;
}

TEST(ReadAhead, EndsWhileTheThreadWorks) {
  Fixture fixture(data::Kind::kU8);
  for (std::uint64_t round = 0; round < 200; ++round) {
    ReadAhead batches = fixture.make({0, 1, 2, 3, 4}, true);
    batches.begin_round(round % fixture.rounds);
  }
}

TEST(ReadAhead, PaysForLargeBatchesWhereAProcessorIsFree) {
  data::Table table;
  table.kind = data::Kind::kU8;
  table.shape = {3, 32, 32};
  EXPECT_TRUE(ReadAhead::pays(table, 64, 1, 2));
  EXPECT_FALSE(ReadAhead::pays(table, 64, 2, 2)) << "no processor is free";
  EXPECT_FALSE(ReadAhead::pays(table, 8, 1, 2)) << "a hand-off costs as much";
}

}  // namespace
}  // namespace instep::train
