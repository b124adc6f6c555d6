// The engine's ops: rounds and gathers, and the views under which they are made.
#include <ATen/Context.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/failpoint.h"
#include "base/random.h"
#include "base/text.h"
#include "round/coding.h"
#include "train/engine.h"

namespace instep::train {

using reduce::kBlockElements;
using reduce::Range;

namespace {

constexpr std::uint64_t kTellElements = 1 << 18;

}  // namespace

// Of me under a view: everything but the units.
round::Setup Engine::setup_for(const member::View& view) const {
  round::Setup setup;
  setup.view = view;
  setup.me = session_.me();
  setup.shards = static_cast<std::uint32_t>(job_.shards);
  setup.full_samples = round::full_samples(job_);
  setup.tensors = binding_.space.tensors();
  if (!binding_.carried.empty()) {
    setup.carried = round::Carried{binding_.carried.parts(), binding_.carried.flags()};
  }
  setup.coding = round::coding_of(job_);
  setup.control = session_.control();
  setup.shuffle = job_.shuffle_exchange;
  setup.arenas.resize(session_.slots());
  return setup;
}

// What the view takes from me I have no more to do with; what it gives me on top comes back as
// shards to compute, and is mine as slices to update.
Result<std::vector<std::uint32_t>> Engine::take_up(bool in_round) {
  drop_ahead();  // what is mine may be something else from here on
  const std::vector<std::uint32_t> before = std::exchange(my_shards_, {});
  const member::View& view = seat_.view();
  member_ = seat_.member();
  undo_->clear();  // between two steps nothing is half done
  session_.words().status.shards.store(0);
  if (!member_) return std::vector<std::uint32_t>();
  INSTEP_RETURN_IF_ERROR(memory_->own(view.slices, session_.me()));
  failpoint("view.owned");
  setup_ = setup_for(view);
  for (const member::AgentId agent : view.members) {
    INSTEP_ASSIGN_OR_RETURN(setup_.arenas[static_cast<std::size_t>(agent)],
                            session_.arena_of(agent));
  }
  setup_.hosted = session_.has_world();
  if (setup_.hosted) {
    INSTEP_ASSIGN_OR_RETURN(setup_.world, session_.world());
  }
  my_ranges_.clear();
  my_units_.clear();
  for (const member::Slice& slice : view.slices) {
    if (slice.owner != session_.me() || slice.blocks == 0) continue;
    my_ranges_.push_back({slice.first_block * kBlockElements, slice.blocks * kBlockElements});
    for (const Range& unit :
         reduce::cut_units(binding_.space, slice.first_block, slice.blocks, sync::kUnitElements)) {
      my_units_.push_back(unit);
    }
  }
  for (std::uint32_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    if (view.shard_agent[shard] == session_.me()) my_shards_.push_back(shard);
  }
  session_.words().status.shards.store(static_cast<std::uint32_t>(my_shards_.size()));
  std::vector<std::uint32_t> more;
  std::set_difference(my_shards_.begin(), my_shards_.end(), before.begin(), before.end(),
                      std::back_inserter(more));
  if (in_round && my_shards_.size() < before.size() + more.size()) {
    // Another host computes some of them now, and a sum cannot lose a shard: all of mine again.
    more = my_shards_;
    begin_shards();
  } else if (in_round) {
    gradients_->extend(more);
    failpoint("view.extended");
  }
  // Of the round that is due somebody may have updated blocks before it died.
  make_exchange(round::unstamped(my_units_, memory_->stamps(), round_));
  partial_ = setup_.units != my_units_;
  const bool crowded =
      view.members.size() * static_cast<std::size_t>(job_.threads) > session_.welcome().processors;
  runner_.spins = crowded ? 100 : 20000;
  for (std::size_t slot = 0; slot < since_.size(); ++slot) {
    const auto agent = static_cast<member::AgentId>(slot);
    if (!member::contains(view.members, agent)) {
      since_[slot].store(0);
    } else if (since_[slot].load() == 0) {
      since_[slot].store(view.epoch.number);
    }
  }
  return more;
}

void Engine::make_exchange(std::vector<Range> units) {
  setup_.units = std::move(units);
  if (replicas_step()) {
    update_ =
        std::make_unique<sync::GradientUpdate>(*memory_, binding_.carried_begin(), setup_.units);
  } else {
    update_ = std::make_unique<sync::FusedUpdate>(
        *memory_, binding_.space, binding_.carried_begin(), setup_.units, rule_, job_.ema.decay,
        *undo_, [this](std::uint64_t block) { damaged(block); });
  }
  exchange_ = std::make_unique<round::Exchange>(setup_);
}

// Nothing has been made of it: what this round would have read is left, and nobody finishes it.
void Engine::damaged(std::uint64_t block) {
  std::string slice;
  for (const member::Slice& it : seat_.view().slices) {
    if (block < it.first_block || block >= it.first_block + it.blocks) continue;
    slice = cat("slice ", it.first_block, "-", it.first_block + it.blocks - 1);
  }
  session_.fail({ErrorKind::kDamaged,
                 cat("block ", block, " of the state (", slice, ", owner ", session_.me(),
                     ") does not hold in round ", round_, " what was written there")});
}

// Writes a part to a mail of its own; those of the op before the last go.
std::uint64_t Engine::post(const round::Part& part, bool first) {
  if (first) {
    slot_ ^= 1;
    for (std::byte* old : mails_[slot_]) session_.arena().give_back(old);
    mails_[slot_].clear();
  }
  auto* at = static_cast<std::byte*>(session_.arena().take(round::part_bytes(part)));
  INSTEP_CHECK(at != nullptr, "an arena holds its mail");
  mails_[slot_].push_back(at);
  round::write_part(part, at);
  return session_.arena().offset(at);
}

void Engine::begin_round() {
  if (partial_) {
    make_exchange(round::unstamped(my_units_, memory_->stamps(), round_));
    partial_ = setup_.units != my_units_;
  }
  write_book();
  begin_shards();
}

// In order again, if the last round ended with more shards than it began with.
void Engine::begin_shards() {
  gradients_->assign(setup_.shards, my_shards_, setup_.coding.nodes);
  gradients_->begin_round();
  rows_.clear();
}

Status Engine::compute(std::uint32_t shard) {
  const std::uint32_t samples = work_->samples(shard);
  round::ShardRow row{shard, samples, 0, 0};
  gradients_->begin_shard(static_cast<float>(samples) / static_cast<float>(setup_.full_samples));
  if (samples > 0) {
    at::Tensor begun = take_ahead(shard);
    if (!begun.defined()) at::manual_seed(mix(job_.seed, shard, round_));
    INSTEP_ASSIGN_OR_RETURN(row.loss, compute_shard(*work_, shard, samples, std::move(begun)));
    row.drawn = work_->drawn(shard);
    if (!binding_.carried.empty()) {
      gradients_->add_carried(binding_.carried.contribution(carried_state()));
      restore_carried();
    }
  }
  gradients_->end_shard();
  rows_.push_back(row);
  beat();
  if (const std::string name = binding_.carried.changed_elsewhere(); !name.empty()) {
    return invalid(cat("buffer ", name,
                       " changes in training, and only dense float32, int64 and int32 buffers on "
                       "the CPU can: convert it, or keep it as it is"));
  }
  return {};
}

// What is settled while the rest is computed goes out to the other hosts.
std::optional<round::Posted> Engine::open_round(fabric::Ticket ticket, bool first) {
  if (!setup_.hosted || binding_.space.elements() < kOpenElements) return std::nullopt;
  const auto& offsets = gradients_->open([this](std::size_t index, std::uint64_t offset) {
    round::settle(mails_[slot_].back(), index, offset);
    untold_ += setup_.tensors[index % setup_.tensors.size()].count;
    if (untold_ < kTellElements) return;
    untold_ = 0;
    exchange_->tell_world();
    failpoint("round.told");
  });
  const std::uint64_t mail = post(
      {ticket, round_, round::Directive::kNone, {}, gradients_->nodes(), offsets, {}, true}, first);
  untold_ = 0;
  return round::Posted{ticket, round_, mail, slot_};
}

round::Posted Engine::post_round(fabric::Ticket ticket, bool first) {
  const auto directive = lead() ? work_->directive() : round::Directive::kNone;
  const std::uint64_t mail = post(
      {ticket, round_, directive, rows_, gradients_->nodes(), gradients_->offsets(), {}}, first);
  return {ticket, round_, mail, slot_};
}

round::Judging Engine::judging() {
  round::Judging judging;
  judging.clip_norm = job_.optimizer.clip_norm;
  judging.before_apply = judging.clip_norm > 0;
  judging.sums_wanted = judging.before_apply || job_.stop.gradient_norm > 0;
  judging.block_sums = memory_->gradient_sums();
  return judging;
}

round::Update* Engine::update() {
  if (auto* fused = dynamic_cast<sync::FusedUpdate*>(update_.get())) {
    fused->prepare(round_, updates_, sync::read_settings(*optimizer_, rule_),
                   judging().before_apply, wants_change());
  } else if (auto* gradient = dynamic_cast<sync::GradientUpdate*>(update_.get())) {
    gradient->prepare(round_);
  }
  return update_.get();
}

Result<round::Outcome> Engine::run_round(const ShardWork& work, double factor,
                                         std::span<const std::byte> state) {
  const auto& groups = optimizer_->param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    optimizer_->param_groups()[i].options().set_lr(base_lr_[i] * factor);
  }
  work_ = &work;
  loop_state_ = state;
  busy(fabric::Busy::kComputing);
  turn_.begin_round(round_);
  const auto step = run_turn();
  if (!only_ours_ || !step.ok() || *step != round::Turn::Step::kDone) outside();
  if (!step.ok()) return step.error();
  if (*step == round::Turn::Step::kLeft) {
    drop_ahead();
    left_ = true;
    failpoint("leave.left");
    return round::Outcome();
  }
  const round::Outcome& outcome = exchange_->outcome();
  const bool failed = outcome.bad_shard || (outcome.bad_norm && job_.optimizer.clip_norm > 0);
  if (failed && job_.on_nonfinite == job::OnNonfinite::kStop) {
    drop_ahead();
    failed_ = true;
    return outcome;
  }
  if (wants_change() && outcome.applied) {
    parameter_change_ =
        std::sqrt(reduce::tree_sum({memory_->change_sums(), binding_.space.blocks()}));
  }
  failpoint("round.over");
  finish_round(outcome);
  failpoint("round.next");
  return outcome;
}

void Engine::finish_round(const round::Outcome& outcome) {
  if (outcome.applied) {
    if (replicas_step()) step_replica();
    ++updates_;
  }
  ++round_;
  if (outcome.applied) binding_.carried.advance(carried_state());
  if (!ahead_) point_at_parameters();
  // Of my gradients the others read their slices, and I read mine of theirs; then parameters
  // likewise.
  std::uint64_t mine = 0;
  for (const Range& range : my_ranges_) mine += range.count * sizeof(float);
  const std::uint64_t whole = binding_.space.elements() * sizeof(float);
  const std::uint64_t others = seat_.view().members.size() - 1;
  const std::uint64_t nodes = gradients_->nodes().size();
  // A bridge takes all of them, and brings what I read of everybody's.
  bytes_sent_ += (setup_.hosted ? whole : whole - mine) * nodes + mine * others;
  bytes_received_ += outcome.bytes_read + (whole - mine);
}

Result<round::Posted> Engine::post_gather(fabric::Ticket ticket, bool first) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<std::byte> mine, (*make_)());
  const std::uint64_t mail =
      post({ticket, round_, round::Directive::kNone, {}, {}, {}, mine}, first);
  return round::Posted{ticket, round_, mail, slot_};
}

Result<Engine::Parts> Engine::gather(const Make& make) {
  make_ = &make;
  turn_.begin_gather(ops_before(), true);
  return run_gather();
}

Result<Engine::Parts> Engine::gather_share(std::span<const std::byte> mine) {
  const Make make = [mine] { return std::vector<std::byte>(mine.begin(), mine.end()); };
  make_ = &make;
  turn_.begin_gather(ops_before(), false);
  return run_gather();
}

Result<Engine::Parts> Engine::run_gather() {
  INSTEP_ASSIGN_OR_RETURN(const auto step, runner_.run(turn_));
  beat();
  if (step == round::Turn::Step::kOthers) {
    return Error{ErrorKind::kAgain, "those who take part have changed"};
  }
  if (step == round::Turn::Step::kLeft) {
    return Error{ErrorKind::kUnavailable, "the run goes on without this agent"};
  }
  return exchange_->gathered();
}

}  // namespace instep::train
