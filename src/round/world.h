// What a host's bridge says to the host's agents in the name of all hosts: the sums of the two
// newest rounds over all shards, and the parts by which agents read them. It lies in an arena that
// the bridge alone writes.
//
// A round is told when all hosts' rows are here, and published when all of its sums are. In between
// agents take what has arrived: a block's stamp says that its sums stand, of all targets. They are
// what any line-up makes of the round, so they stay when it is made again under the next one, and
// are not written a second time: somebody may be reading them.
//
// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/host_memory.h"
#include "member/view.h"
#include "reduce/codec.h"
#include "reduce/flat.h"
#include "reduce/tree.h"
#include "round/part.h"
#include "round/undo.h"

namespace instep::round {

// What all hosts' sums are of.
struct Sums {
  std::uint32_t shards = 0;
  std::uint64_t elements = 0;          // of the flat space
  std::vector<reduce::Range> tensors;  // their places in it
  std::vector<reduce::Node> targets;   // nodes that cover the tree: the root, or a codec's
  // One that packs: what is delivered is final then, of the root alone. Gradients are combined by
  // way of the codec, scaled to their mean, and encoded; what is carried is summed as ever.
  reduce::Coding coding;
  std::uint32_t full_samples = 0;  // of a shard's full batch: the weight that counts as 1
  bool carried = false;            // the last tensor

  // Nodes that no host adds up beyond.
  const std::vector<reduce::Node>& bounds() const {
    return coding.packs() ? coding.nodes : targets;
  }
};

// What is known of a round beside the sums when all hosts' rows of it are here.
struct Whole {
  std::uint64_t round = 0;
  Directive directive = Directive::kNone;
  std::vector<ShardRow> rows;         // [shards]
  std::vector<std::uint8_t> present;  // [targets][tensors]: not 0 if a shard had a gradient
};

class World {
 public:
  // `arena` is zero at first. kNoMemory if it cannot hold the sums.
  static Result<World> make(std::span<std::byte> arena, fabric::AgentWords& words, Sums sums);

  const Sums& sums() const { return sums_; }
  // A target's sum in the round, [elements]; overwritten by the round after the next.
  float* sum(std::uint64_t round, std::size_t target) const;
  // Of whole blocks: whether the sums of all of them stand, or of none.
  bool stand(std::uint64_t round, const reduce::Range& range) const;
  bool open(std::uint64_t round, const reduce::Range& range) const;
  // A target's sums of whole blocks, [range.count], to those that do not stand.
  void put(std::uint64_t round, std::size_t target, const reduce::Range& range, const float* from);
  // Their sums stand, of all targets.
  void arrived(std::uint64_t round, const reduce::Range& range);
  // All hosts' rows of a round are here. The directive may be another one when it is kept: that of
  // a host whose agents have changed meanwhile.
  void know(Whole coming) { coming_ = std::move(coming); }
  // Nobody is told of it before it is known again.
  void forget() { coming_.reset(); }
  // Null for a round that is not known.
  const Whole* known(std::uint64_t round) const;
  // The round's sums stand.
  void keep(Whole whole);
  // Null for a round that is not kept.
  const Whole* whole(std::uint64_t round) const;
  // The newest kept, plus one; `first` before any is.
  std::uint64_t done(std::uint64_t first) const;

  // Says that the part for the ticket, of a round that is known, can be read but for its sums.
  void tell(fabric::Ticket ticket, std::uint64_t round);
  // Says that the part for the ticket, of a round that is kept, can be read.
  void publish(fabric::Ticket ticket, std::uint64_t round);
  // The tickets said last.
  fabric::Ticket told() const { return words_->told.load(std::memory_order_relaxed); }
  fabric::Ticket published() const { return words_->published.load(std::memory_order_relaxed); }

 private:
  World(std::span<std::byte> arena, fabric::AgentWords& words, Sums sums);
  Stamp* stamps(std::uint64_t round) const;
  void write(fabric::Ticket ticket, const Whole& of);

  std::span<std::byte> arena_;
  fabric::AgentWords* words_;
  Sums sums_;
  std::uint64_t mail_bytes_ = 0, stamps_at_ = 0, sums_at_ = 0;
  std::uint64_t mails_ = 0;  // written so far
  std::optional<Whole> coming_;
  std::optional<Whole> kept_[2];
};

}  // namespace instep::round
