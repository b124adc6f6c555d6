#include "round/world.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "fabric/arena.h"
#include "fabric/wait.h"

namespace instep::round {

using reduce::kBlockElements;
using reduce::Range;

namespace {

// A reader may be stopped in the midst of a mail while views follow each other: there are more of
// them than deaths that a round survives, two a view.
constexpr std::uint64_t kMails = 32;

}  // namespace

Result<World> World::make(std::span<std::byte> arena, fabric::AgentWords& words, Sums sums) {
  World out(arena, words, std::move(sums));
  const std::uint64_t regions = 2 * out.sums_.targets.size();
  if (out.sums_at_ + regions * out.sums_.elements * sizeof(float) > arena.size()) {
    return Error{ErrorKind::kNoMemory,
                 cat("the sums of all hosts do not fit into this machine's memory: ",
                     human_bytes(double(regions * out.sums_.elements * sizeof(float))))};
  }
  return out;
}

World::World(std::span<std::byte> arena, fabric::AgentWords& words, Sums sums)
    : arena_(arena), words_(&words), sums_(std::move(sums)) {
  Part largest;
  const std::vector<ShardRow> rows(sums_.shards);
  const std::vector<std::uint64_t> offsets(sums_.targets.size() * sums_.tensors.size());
  largest.rows = rows;
  largest.nodes = sums_.targets;
  largest.offsets = offsets;
  mail_bytes_ = fabric::whole_pages(part_bytes(largest));
  stamps_at_ = fabric::kPage + kMails * mail_bytes_;  // an offset of 0 means nothing
  const std::uint64_t blocks = sums_.elements / kBlockElements;
  sums_at_ = stamps_at_ + fabric::whole_pages(2 * blocks * sizeof(Stamp));
  words_->arrived.store(stamps_at_, std::memory_order_release);
}

// By block.
Stamp* World::stamps(std::uint64_t round) const {
  const std::uint64_t blocks = sums_.elements / kBlockElements;
  return reinterpret_cast<Stamp*>(arena_.data() + stamps_at_) + (round & 1) * blocks;
}

bool World::stand(std::uint64_t round, const Range& range) const {
  return stamped(stamps(round), range, round);
}

bool World::open(std::uint64_t round, const Range& range) const {
  const Stamp* at = stamps(round);
  return std::none_of(
      at + range.begin / kBlockElements, at + range.end() / kBlockElements,
      [round](const Stamp& it) { return it.load(std::memory_order_relaxed) == stamp_of(round); });
}

void World::put(std::uint64_t round, std::size_t target, const Range& range, const float* from) {
  for (std::uint64_t at = 0; at < range.count; at += kBlockElements) {
    if (stand(round, {range.begin + at, kBlockElements})) continue;
    std::memcpy(sum(round, target) + range.begin + at, from + at, reduce::kBlockBytes);
  }
}

void World::arrived(std::uint64_t round, const Range& range) {
  _mm_sfence();
  Stamp* const first = stamps(round);
  for (std::uint64_t at = range.begin; at < range.end(); at += kBlockElements) {
    first[at / kBlockElements].store(stamp_of(round), std::memory_order_release);
  }
  fabric::publish(words_->arrivals, words_->arrivals.load(std::memory_order_relaxed) + 1);
  fabric::wake(words_->arrivals);
}

const Whole* World::known(std::uint64_t round) const {
  if (const Whole* kept = whole(round)) return kept;
  return coming_ && coming_->round == round ? &*coming_ : nullptr;
}

float* World::sum(std::uint64_t round, std::size_t target) const {
  const std::uint64_t region = (round & 1) * sums_.targets.size() + target;
  return reinterpret_cast<float*>(arena_.data() + sums_at_ +
                                  region * sums_.elements * sizeof(float));
}

void World::keep(Whole whole) {
  INSTEP_CHECK(whole.rows.size() == sums_.shards, "a row a shard");
  arrived(whole.round, {0, sums_.elements});
  kept_[whole.round & 1] = std::move(whole);
}

const Whole* World::whole(std::uint64_t round) const {
  const auto& kept = kept_[round & 1];
  return kept && kept->round == round ? &*kept : nullptr;
}

std::uint64_t World::done(std::uint64_t first) const {
  for (const auto& kept : kept_) {
    if (kept) first = std::max(first, kept->round + 1);
  }
  return first;
}

// A mail of its own.
void World::write(fabric::Ticket ticket, const Whole& of) {
  std::vector<std::uint64_t> offsets;
  for (std::size_t target = 0; target < sums_.targets.size(); ++target) {
    const auto base = static_cast<std::uint64_t>(
        reinterpret_cast<std::byte*>(sum(of.round, target)) - arena_.data());
    for (std::size_t t = 0; t < sums_.tensors.size(); ++t) {
      const bool there = of.present[target * sums_.tensors.size() + t] != 0;
      offsets.push_back(there ? base + sums_.tensors[t].begin * sizeof(float)
                              : fabric::Arena::kAbsent);
    }
  }
  const std::uint64_t at = fabric::kPage + mails_++ % kMails * mail_bytes_;
  write_part({ticket, of.round, of.directive, of.rows, sums_.targets, offsets, {}},
             arena_.data() + at);
  words_->mail[of.round & 1].store(at, std::memory_order_release);
}

void World::tell(fabric::Ticket ticket, std::uint64_t round) {
  const Whole* coming = known(round);
  INSTEP_CHECK(coming != nullptr, "what is told is known");
  write(ticket, *coming);
  fabric::publish(words_->told, ticket);
  fabric::wake(words_->told);
}

void World::publish(fabric::Ticket ticket, std::uint64_t round) {
  const Whole* kept = whole(round);
  INSTEP_CHECK(kept != nullptr, "what is published is kept");
  write(ticket, *kept);
  if (ticket > told()) {
    fabric::publish(words_->told, ticket);
    fabric::wake(words_->told);
  }
  fabric::publish(words_->published, ticket);
  fabric::wake(words_->published);
}

}  // namespace instep::round
