#include "data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "base/result.h"
#include "data/dataset.h"

namespace instep::data {
namespace {

// What a permutation is for, so that no two share a key.
enum class Order : std::uint64_t { kSplit = 0x0de2, kPartition, kEpoch };

std::uint64_t order_key(std::uint64_t seed, Order order, std::uint64_t a = 0, std::uint64_t b = 0) {
  return mix(seed, static_cast<std::uint64_t>(order), a, b);
}

using Samples = std::vector<std::uint64_t>;

Samples permuted(const Samples& samples, std::uint64_t key) {
  const Permutation permutation(samples.size(), key);
  Samples out(samples.size());
  for (std::uint64_t i = 0; i < samples.size(); ++i) out[i] = samples[permutation(i)];
  return out;
}

// Class after class, each in the order in which its samples come.
Samples by_class(Samples samples, std::span<const std::int32_t> classes) {
  for (const std::uint64_t sample : samples) {
    INSTEP_CHECK(sample < classes.size(), "a stratified order knows each sample's class");
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [&](std::uint64_t a, std::uint64_t b) { return classes[a] < classes[b]; });
  return samples;
}

// Moves `count` evenly spread samples from `from` to the result: of each run of neighbours its
// share, up to one, so a list in class order keeps the classes' shares.
Samples take_evenly(Samples& from, std::uint64_t count) {
  Samples taken;
  Samples rest;
  std::uint64_t due = 0;
  for (const std::uint64_t sample : from) {
    due += count;
    if (due >= from.size()) {
      due -= from.size();
      taken.push_back(sample);
    } else {
      rest.push_back(sample);
    }
  }
  from = std::move(rest);
  return taken;
}

// The fraction's samples, leaving at least one.
std::uint64_t share(double fraction, std::uint64_t size, std::uint64_t left) {
  if (!(fraction > 0) || left == 0) return 0;
  const auto count = static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(size)));
  return std::min(count, left - 1);
}

}  // namespace

Parts split(std::uint64_t size, std::span<const std::int32_t> classes, const job::Split& split,
            std::uint64_t seed) {
  Parts parts;
  parts.train = first_samples(size);
  const std::uint64_t test = share(split.test, size, size);
  const std::uint64_t validation = share(split.validation, size, size - test);
  if (test + validation == 0) return parts;
  parts.train = permuted(parts.train, order_key(seed, Order::kSplit));
  if (split.stratified) parts.train = by_class(std::move(parts.train), classes);
  parts.test = take_evenly(parts.train, test);
  parts.validation = take_evenly(parts.train, validation);
  for (Samples* part : {&parts.train, &parts.validation, &parts.test}) {
    std::sort(part->begin(), part->end());
  }
  return parts;
}

Sampler::Sampler(std::vector<std::uint64_t> samples, std::span<const std::int32_t> classes,
                 job::PartitionKind kind, std::uint32_t shards, std::uint64_t batch,
                 std::uint64_t seed)
    : begin_(std::uint64_t{shards} + 1), shards_(shards), batch_(batch), seed_(seed) {
  INSTEP_CHECK(shards > 0 && batch > 0, "a sampler has shards and a batch");
  using job::PartitionKind;
  if (kind == PartitionKind::kRandom || kind == PartitionKind::kStratified) {
    samples = permuted(samples, order_key(seed, Order::kPartition));
  }
  if (kind == PartitionKind::kStratified) samples = by_class(std::move(samples), classes);
  // The list is dealt as a round takes it, so that a shard which takes more has more, and no round
  // but the last is short.
  const auto dealt_to = [&](std::uint64_t i) { return i % batch % shards; };
  for (std::uint64_t i = 0; i < samples.size(); ++i) ++begin_[dealt_to(i) + 1];
  std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
  if (kind == PartitionKind::kContiguous) {
    samples_ = std::move(samples);
    return;
  }
  samples_.resize(samples.size());
  std::vector<std::uint64_t> next(begin_.begin(), begin_.end() - 1);
  for (std::uint64_t i = 0; i < samples.size(); ++i) samples_[next[dealt_to(i)]++] = samples[i];
}

std::uint64_t Sampler::size() const { return samples_.size(); }

std::uint64_t Sampler::shard_size(std::uint32_t shard) const {
  INSTEP_CHECK(shard < shards_, "a shard's number is below their count");
  return begin_[shard + 1] - begin_[shard];
}

std::uint64_t Sampler::shard_batch(std::uint32_t shard) const {
  return batch_ / shards_ + (shard < batch_ % shards_ ? 1 : 0);
}

std::uint64_t Sampler::rounds_per_epoch() const {
  std::uint64_t rounds = 0;
  for (std::uint32_t shard = 0; shard < shards_; ++shard) {
    const std::uint64_t size = shard_size(shard);
    if (size == 0) continue;
    const std::uint64_t step = shard_batch(shard);
    rounds = std::max(rounds, size / step + (size % step != 0 ? 1 : 0));
  }
  return rounds;
}

std::uint64_t Sampler::batch_size(std::uint32_t shard, std::uint64_t round_in_epoch) const {
  const std::uint64_t size = shard_size(shard);
  const std::uint64_t step = shard_batch(shard);
  if (step == 0 || round_in_epoch > size / step) return 0;
  return std::min(step, size - round_in_epoch * step);
}

void Sampler::batch(std::uint32_t shard, std::uint64_t data_epoch, std::uint64_t round_in_epoch,
                    std::vector<std::uint64_t>& out) const {
  const std::uint64_t count = batch_size(shard, round_in_epoch);
  const Permutation order(shard_size(shard), order_key(seed_, Order::kEpoch, data_epoch, shard));
  const std::uint64_t first = round_in_epoch * shard_batch(shard);
  out.resize(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    out[i] = samples_[begin_[shard] + order(first + i)];
  }
}

}  // namespace instep::data
