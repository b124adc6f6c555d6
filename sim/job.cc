#include "job.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "base/result.h"
#include "reduce/kernels.h"

namespace instep::sim {

using reduce::kBlockElements;
using reduce::Range;

Job Job::random(std::uint64_t seed, std::uint64_t rounds, std::uint32_t hosts) {
  Random random(mix(seed, 1));
  Job job;
  job.seed = seed;
  job.rounds = rounds;
  job.shards = std::max(hosts, 2 + static_cast<std::uint32_t>(random.below(6)));
  job.rounds_per_epoch = 10 + random.below(50);
  job.moments = 1 + static_cast<int>(random.below(2));
  if (random.below(3) == 0) job.clip_norm = 4.0 + static_cast<double>(random.below(200));
  job.norm_wanted = random.below(3) == 0;
  job.unit_elements = kBlockElements * (1 + random.below(2));
  job.space.begin_group();
  (void)job.space.add(300 + random.below(900));
  if (random.below(2) == 0) (void)job.space.add(700 + random.below(2200));
  if (random.below(2) == 0) {
    job.space.begin_group();
    job.carried.emplace();
    std::uint64_t top = 0;
    for (std::uint64_t part = 0; part < 1 + random.below(3); ++part) {
      job.carried->parts.push_back({top, 20 + random.below(200)});
      top = (job.carried->parts.back().end() + 15) / 16 * 16;
    }
    job.carried->flags = {top, job.carried->parts.size()};
    job.carried_begin = job.space.add(job.carried->flags.end()).begin;
  }
  job.space.finish();
  return job;
}

std::uint32_t Job::samples(std::uint32_t shard, std::uint64_t round) const {
  if ((round + 1) % rounds_per_epoch != 0) return kFullSamples;
  return static_cast<std::uint32_t>(mix(seed, 2, shard, round) % (kFullSamples + 1));
}

round::ShardRow Job::row(std::uint32_t shard, std::uint64_t round) const {
  round::ShardRow out{shard, samples(shard, round), 0, 0};
  if (out.samples == 0) return out;
  out.loss = static_cast<double>(mix(seed, 3, shard, round) % 64) / 8.0;
  // A round in so many is void.
  const std::uint64_t dice = mix(seed, 4, round) % (40 * shards);
  if (dice == shard) out.loss = std::numeric_limits<double>::quiet_NaN();
  out.drawn = mix(seed, 5, shard, round);
  return out;
}

bool Job::present(std::size_t tensor, std::uint32_t shard, std::uint64_t round) const {
  if (samples(shard, round) == 0) return false;
  if (carried && tensor + 1 == space.tensors().size()) return true;
  return mix(seed, 6, tensor, shard, round) % 12 != 0;
}

void Job::contribution(std::size_t tensor, std::uint32_t shard, std::uint64_t round,
                       std::uint64_t counts, const float* parameters, float* out) const {
  const Range& place = space.tensors()[tensor];
  const auto key = static_cast<std::uint32_t>(mix(seed, 7, tensor, shard, round, counts));
  const float weight = static_cast<float>(samples(shard, round)) / kFullSamples;
  const float* mine = parameters + place.begin;
  for (std::uint64_t i = 0; i < place.count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(mine[i]) >> 9 & 7;
    const std::uint32_t word = (static_cast<std::uint32_t>(i) * 2654435761U ^ key) >> 28;
    out[i] = static_cast<float>(static_cast<std::int32_t>(word + bits) - 9) * weight;
  }
  if (!carried || tensor + 1 != space.tensors().size()) return;
  std::uint64_t at = 0;
  for (const Range& part : carried->parts) {
    std::fill(out + at, out + part.begin, 0.0F);
    at = part.end();
  }
  std::fill(out + at, out + place.count, 0.0F);
  for (std::uint64_t i = 0; i < carried->parts.size(); ++i) {
    const bool changed = mix(seed, 8, i, shard, round) % (2 * shards) == 0;
    out[carried->flags.begin + i] = changed ? weight : 0.0F;
  }
}

float Job::initial(std::uint64_t element) const {
  return static_cast<float>(mix(seed, 9, element) % 1024) / 32.0F;
}

void Job::step(std::uint64_t begin, std::uint64_t end, const float* gradient, float factor,
               std::uint64_t updates, float* next, float* const* moment) const {
  const float rate = 0.125F / static_cast<float>(1 + updates % 7);
  for (std::uint64_t i = begin; i < end; ++i) {
    const float g = factor == 1.0F ? gradient[i - begin] : gradient[i - begin] * factor;
    moment[0][i] = 0.5F * moment[0][i] + g;
    float change = moment[0][i];
    if (moments > 1) {
      moment[1][i] = 0.75F * moment[1][i] + g * g;
      change += 0.25F * moment[1][i];
    }
    next[i] = next[i] * 0.96875F - rate * change;
  }
}

void note_round(Notes& notes, const Job& job, const round::Outcome& outcome) {
  if (!outcome.applied) return;
  ++notes.state.updates;
  ++notes.state.counts;
  notes.state.samples += outcome.samples;
  notes.state.loss_sum += outcome.loss * static_cast<double>(outcome.samples);
  std::uint64_t word = job.seed;
  for (const round::ShardRow& row : outcome.rows) {
    word = mix(word, row.shard, row.samples, row.drawn);
  }
  notes.log.push_back(word);
}

std::uint64_t tally(std::span<const std::uint64_t> log) {
  std::uint64_t out = log.size();
  for (const std::uint64_t word : log) out = mix(out, word);
  return out;
}

void note_epoch(Notes& notes, std::uint64_t tallied) {
  notes.state.tallied = mix(notes.state.tallied, tallied);
  notes.history.push_back(notes.state.tallied);
  notes.log.clear();
  notes.state.loss_sum = 0;
}

Oracle::Oracle(const Job& job, std::uint64_t kept) : job_(job), truth_(kept), outcome_(kept) {
  Truth& first = truth_[0];
  first.parameters.resize(job.space.elements());
  for (auto& moment : first.moment) moment.assign(job.space.elements(), 0.0F);
  for (std::uint64_t i = 0; i < job.space.elements(); ++i) first.parameters[i] = job.initial(i);
}

const Truth& Oracle::at(std::uint64_t round) {
  while (newest_ < round) advance();
  INSTEP_CHECK(newest_ - round < truth_.size(), "the oracle remembers a few rounds");
  return truth_[round % truth_.size()];
}

const round::Outcome& Oracle::outcome(std::uint64_t round) {
  (void)at(round + 1);
  return outcome_[(round + 1) % truth_.size()];
}

void Oracle::advance() {
  const Truth& now = truth_[newest_ % truth_.size()];
  const std::uint64_t round = newest_;
  Truth& next = truth_[(round + 1) % truth_.size()];
  round::Outcome& out = outcome_[(round + 1) % truth_.size()];
  out = round::Outcome();
  std::vector<double> losses;
  for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
    const round::ShardRow row = job_.row(shard, round);
    out.rows.push_back(row);
    out.samples += row.samples;
    losses.push_back(row.samples == 0 ? 0.0 : row.loss * row.samples);
    if (row.samples > 0 && !std::isfinite(row.loss) && !out.bad_shard) out.bad_shard = shard;
  }
  const auto total = static_cast<double>(out.samples);
  out.loss = out.samples == 0 ? 0.0 : reduce::tree_sum(losses) / total;
  out.applied = out.samples > 0 && !out.bad_shard;
  next.round = round + 1;
  next.parameters = now.parameters;
  next.moment = now.moment;
  next.notes = now.notes;
  ++newest_;
  const std::uint64_t elements = job_.space.elements();
  if (out.applied) {
    std::vector<float> combined(elements, 0.0F);
    std::vector<float> one;
    const auto& tensors = job_.space.tensors();
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      one.resize(tensors[t].count);
      float* to = combined.data() + tensors[t].begin;
      for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
        if (!job_.present(t, shard, round)) continue;
        job_.contribution(t, shard, round, now.notes.state.counts, now.parameters.data(),
                          one.data());
        reduce::add(to, to, one.data(), one.size());
      }
    }
    std::vector<bool> changed;
    if (job_.carried) {
      const float* flags = combined.data() + job_.carried_begin + job_.carried->flags.begin;
      for (std::size_t i = 0; i < job_.carried->parts.size(); ++i) changed.push_back(flags[i] != 0);
    }
    reduce::scale(combined.data(), static_cast<float>(kFullSamples / total), elements);
    float factor = 1;
    if (job_.clip_norm > 0 || job_.norm_wanted) {
      std::vector<double> sums;
      for (std::uint64_t at = 0; at < elements; at += kBlockElements) {
        sums.push_back(at >= job_.carried_begin
                           ? 0
                           : reduce::sum_of_squares(combined.data() + at, kBlockElements));
      }
      out.gradient_norm = std::sqrt(reduce::tree_sum(sums));
      if (job_.clip_norm > 0) {
        factor = static_cast<float>(std::min(1.0, job_.clip_norm / (out.gradient_norm + 1e-6)));
      }
    }
    float* const moment[2] = {next.moment[0].data(), next.moment[1].data()};
    job_.step(0, std::min(elements, job_.carried_begin), combined.data(), factor,
              now.notes.state.updates, next.parameters.data(), moment);
    if (job_.carried) {
      std::copy(combined.begin() + static_cast<std::ptrdiff_t>(job_.carried_begin), combined.end(),
                next.parameters.begin() + static_cast<std::ptrdiff_t>(job_.carried_begin));
      for (std::size_t i = 0; i < changed.size(); ++i) {
        if (changed[i]) continue;
        const Range& part = job_.carried->parts[i];
        const auto from = static_cast<std::ptrdiff_t>(job_.carried_begin + part.begin);
        std::copy_n(now.parameters.begin() + from, part.count, next.parameters.begin() + from);
      }
    }
  }
  note_round(next.notes, job_, out);
  if ((round + 1) % job_.rounds_per_epoch == 0) note_epoch(next.notes, tally(next.notes.log));
}

}  // namespace instep::sim
