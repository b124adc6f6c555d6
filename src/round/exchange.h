// One round as a step machine over spans, words and waits: publish my part, wait for everybody's,
// combine my slice, judge, apply, say that it is done, wait for everybody else's slice. The only
// executor of every policy; policies differ in who owns what and in their Update (design, section
// 2).
//
// The machine never blocks: step() does one bounded piece of work or says on which word it waits,
// so a simulator can stop, kill or wake a member between any two of its steps. Single-threaded.
//
// One of several hosts computes some of the shards and holds the whole state. Its members publish
// their parts as ever, but a bridge reads them, exchanges sums with the bridges of other hosts, and
// publishes one part of its own, the world's: the rows of all shards, sums that cover the whole
// tree, and the directive. Members combine from that alone, so every host comes to the same state.
// It tells them the rows first, and then of every block whose sums have come: a unit is combined as
// soon as all of it is there, while the network brings the rest. With a codec that packs, bridges
// have done all of its arithmetic: the world's part is the root's, with gradients as they come
// back.
//
// An attempt whose view is over ends in kStale, or waits for ever: whoever runs it looks for the
// next view between steps, takes it up, and begins the op again with a new ticket.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/host_memory.h"
#include "member/view.h"
#include "reduce/codec.h"
#include "reduce/flat.h"
#include "reduce/kernels.h"
#include "round/part.h"
#include "round/undo.h"

namespace instep::round {

// Stands for the bridge of all hosts where else an agent's number does.
inline constexpr auto kWorldId = static_cast<member::AgentId>(fabric::kWorld);

// What an owner does with its slice of a combined gradient.
class Update {
 public:
  virtual ~Update() = default;
  // Where the combined gradient of a unit goes: unit.count floats on 32 bytes.
  virtual float* target(std::size_t unit) = 0;
  // Whether target() is memory that others read next, worth writing around the cache.
  virtual bool streams() const { return false; }
  // The combined gradient stands in target(unit); factor is the verdict's (1 without one).
  virtual void apply(std::size_t unit, float factor) = 0;
  // The round is void (a loss or norm that is not finite): the next state is this one.
  virtual void carry(std::size_t unit) = 0;
  // What the state holds of a unit of carried values: unit.count floats.
  virtual const float* standing(std::size_t unit) = 0;
  // What the node of a coding keeps back of a unit, with a codec that does: unit.count floats each.
  virtual reduce::Residual residual(std::size_t node, std::size_t unit) {
    (void)node, (void)unit;
    return {};
  }
};

// State that shards carry from round to round beside the parameters, as running statistics: the
// last of the setup's tensors. What comes out is the mean of what the shards leave, and no
// gradient: it counts for no norm. A part that no shard has changed stays bit by bit.
struct Carried {
  std::vector<reduce::Range> parts;  // in the tensor, ascending
  reduce::Range flags;               // in it, behind them: a float a part, not 0 if it was changed
};

// Scalars of the round that depend on every slice, in block order.
struct Judging {
  bool sums_wanted = false;      // each block's sum of squares is written to `block_sums`
  bool before_apply = false;     // and all owners wait for all of them before anybody applies
  double clip_norm = 0;          // > 0: factor = min(1, clip_norm / (norm + 1e-6)), as torch's
  double* block_sums = nullptr;  // [blocks], shared; an owner writes its own
};

// A member's standing description of the exchange under one view.
struct Setup {
  member::View view;
  member::AgentId me = 0;
  std::uint32_t shards = 0;
  std::uint32_t full_samples = 0;  // of a shard's full batch: the weight that counts as 1
  std::vector<reduce::Range> tensors;
  std::optional<Carried> carried;
  reduce::Coding coding;             // of gradients; what is carried is combined as it is
  std::vector<reduce::Range> units;  // of my slices; none crosses into the carried tensor
  fabric::ControlPage* control = nullptr;
  std::vector<std::span<const std::byte>> arenas;  // [agent id]
  bool hosted = false;               // rounds are made of the world's part (fabric::kWorld) alone
  std::span<const std::byte> world;  // its arena
  std::uint64_t shuffle = 0;         // not 0: units in this seeded order instead of ascending
};

// Mine, for one ticket. The mail lies at `mail` of my arena and is written already; `slot` (0 or 1)
// alternates between ops.
struct Posted {
  fabric::Ticket ticket = 0;
  std::uint64_t round = 0;
  std::uint64_t mail = 0;
  int slot = 0;
};

struct Outcome {
  std::vector<ShardRow> rows;  // [shards], by shard number
  Directive directive = Directive::kNone;
  double loss = 0;  // mean over the round's samples, in tree order
  std::uint64_t samples = 0;
  std::optional<std::uint32_t> bad_shard;  // the first with a non-finite loss
  bool bad_norm = false;                   // the combined gradient's norm is not finite
  double gradient_norm = 0;                // if sums_wanted, before clipping
  bool applied = false;
  std::uint64_t bytes_read = 0;  // by me, from peers' memory or the world's
};

class Exchange {
 public:
  explicit Exchange(Setup setup);

  enum class Phase {
    kPublish,
    kAwaitParts,
    kCombine,
    kJudge,
    kAwaitJudged,
    kApply,
    kFinish,
    kAwaitFinished,
    kDone
  };
  enum class Step { kAgain, kWait, kDone, kStale, kFailed };
  struct Awaited {
    const std::atomic<fabric::Ticket>* word = nullptr;
    fabric::Ticket ticket = 0;
    member::AgentId agent = 0;  // or kWorldId
  };

  // Of a hosted member: its open part, before the round's own begin(); and that there is more of
  // it.
  void open(const Posted& posted);
  void tell_world() const;
  void begin(const Posted& posted, const Judging& judging, Update* update);
  Step step();
  const Awaited& awaited() const { return awaited_; }  // after kWait
  const Error& error() const { return error_; }        // after kFailed
  const Outcome& outcome() const { return outcome_; }  // after kDone
  Phase phase() const { return phase_; }
  const Setup& setup() const { return setup_; }
  fabric::AgentWords& words(member::AgentId agent) const;

  // Whether others wait for my `finished` in a round.
  bool owner() const;

  // Publishes the bytes of a gather (written as a Part) and hands over everybody's in the order of
  // `participants`, who are of this host. The same words and the same machine; no slice is touched.
  void begin_gather(const Posted& posted, std::vector<member::AgentId> participants);
  std::vector<std::span<const std::byte>> gathered() const;  // after kDone

 private:
  Step await(const std::vector<member::AgentId>& agents,
             std::atomic<fabric::Ticket> fabric::AgentWords::*word, Phase next);
  Step take_parts();
  // `place`: among the givers.
  Status take_part(std::size_t place, const Part& part);
  Status take_nodes(std::size_t place, std::span<const reduce::Node> nodes);
  Status take_rows(std::size_t place, std::span<const ShardRow> rows);
  Status find_stamps();
  Step take_whole();
  std::span<const std::byte> arena(member::AgentId agent) const;
  // Whether the shard is to be in the part of this place.
  bool has(std::size_t place, std::uint32_t shard) const;
  void weigh();
  void combine_flags();
  void combine(std::size_t index, float* to);
  void combine_run(std::size_t index, std::uint64_t within, std::uint64_t count, float* to);
  bool is_carried(std::size_t unit) const;
  bool stands(std::size_t unit) const;
  Step combine_next();
  void keep_unchanged(std::size_t index, float* to);
  void do_unit(std::size_t index);
  void judge();
  void say(std::atomic<fabric::Ticket>& word);

  Setup setup_;
  std::vector<member::AgentId> owners_;
  std::vector<member::AgentId> givers_;         // whose parts a round is made of
  std::vector<std::size_t> held_;               // [givers] shards
  std::vector<member::AgentId> parties_;        // of the op under way
  std::vector<std::vector<reduce::Node>> due_;  // [givers] as published last
  bool recut_ = false;                          // due_ has changed since nodes_ were made of it
  std::vector<reduce::Node> nodes_;             // of all givers, in their order
  std::vector<std::size_t> unit_tensor_;        // first tensor that a unit touches
  std::vector<std::size_t> order_;              // of units
  reduce::Combiner combiner_;
  bool final_ = false;                          // gradients come as they are used
  std::optional<reduce::CodedCombiner> coded_;  // with a codec
  std::vector<reduce::Residual> residuals_;     // [coding's residuals], scratch of combine()
  std::vector<const float*> sources_;           // [nodes][tensors]
  std::vector<const float*> row_;               // [nodes], scratch of combine()
  std::vector<float> flags_;                    // [carried parts] combined
  bool flags_known_ = false;
  std::vector<std::size_t> open_;  // units that are not combined yet
  const Stamp* stamps_ = nullptr;  // of blocks whose sums stand; null: all do
  std::uint64_t seen_ = 0;         // arrivals, before the look at those units

  Posted posted_;
  Judging judging_;
  Update* update_ = nullptr;
  bool gather_ = false;
  Phase phase_ = Phase::kDone;
  std::size_t at_ = 0;  // unit or agent under way
  float factor_ = 1;    // of the combine: what makes the sum a mean
  float verdict_ = 1;
  bool void_ = false;
  Awaited awaited_;
  Error error_;
  Outcome outcome_;
  std::vector<std::span<const std::byte>> gathered_;
};

}  // namespace instep::round
