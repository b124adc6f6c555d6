#include "round/world.h"

#include <algorithm>

#include "base/text.h"
#include "fabric/wait.h"

namespace instep::round {
namespace {

constexpr std::uint64_t kPage = 4096;
// A reader may be stopped in the midst of a mail while views follow each other: there are more of
// them than deaths that a round survives.
constexpr std::uint64_t kMails = 16;

std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

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
  mail_bytes_ = whole_pages(part_bytes(largest));
  sums_at_ = kPage + kMails * mail_bytes_;  // an offset of 0 means nothing
}

float* World::sum(std::uint64_t round, std::size_t target) const {
  const std::uint64_t region = (round & 1) * sums_.targets.size() + target;
  return reinterpret_cast<float*>(arena_.data() + sums_at_ +
                                  region * sums_.elements * sizeof(float));
}

void World::keep(Whole whole) {
  INSTEP_CHECK(whole.rows.size() == sums_.shards, "a row a shard");
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

void World::publish(fabric::Ticket ticket, std::uint64_t round) {
  const Whole* kept = whole(round);
  INSTEP_CHECK(kept != nullptr, "what is published is kept");
  std::vector<std::uint64_t> offsets;
  for (std::size_t target = 0; target < sums_.targets.size(); ++target) {
    const auto base = static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(sum(round, target)) -
                                                 arena_.data());
    for (std::size_t t = 0; t < sums_.tensors.size(); ++t) {
      const bool there = kept->present[target * sums_.tensors.size() + t] != 0;
      offsets.push_back(there ? base + sums_.tensors[t].begin * sizeof(float) : kAbsent);
    }
  }
  const std::uint64_t at = kPage + mails_++ % kMails * mail_bytes_;
  write_part({ticket, round, kept->directive, kept->rows, sums_.targets, offsets, {}},
             arena_.data() + at);
  words_->mail[round & 1].store(at, std::memory_order_release);
  fabric::publish(words_->published, ticket);
  fabric::wake(words_->published);
}

}  // namespace instep::round
