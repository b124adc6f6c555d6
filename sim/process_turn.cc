// What a simulated process is to its Turn: as train::Engine.
#include <algorithm>
#include <cstring>

#include "base/failpoint.h"
#include "base/random.h"
#include "base/text.h"
#include "process.h"

namespace instep::sim {

using reduce::kBlockElements;
using reduce::Range;

Result<std::vector<std::uint32_t>> Process::take_up(bool in_round) {
  const std::vector<std::uint32_t> before = std::exchange(my_shards_, {});
  const member::View& view = seat_->view();
  if (host_.tracing) {
    host_.trace(me_, cat("takes view ", view.epoch.number, " up at op ", seat_->op() >> 14, ".",
                         seat_->op() & member::kRoundOp));
  }
  member_ = seat_->member();
  if (!member_) return std::vector<std::uint32_t>();
  setup_ = round::Setup();
  setup_.view = view;
  setup_.me = me_;
  setup_.shards = job_.shards;
  setup_.full_samples = kFullSamples;
  setup_.tensors = job_.space.tensors();
  setup_.carried = job_.carried;
  setup_.control = &host_.memory.control();
  setup_.hosted = host_.hosted;
  if (host_.hosted) setup_.world = host_.memory.world();
  setup_.shuffle = job_.seed % 2 == 0 ? job_.seed : 0;
  setup_.arenas.resize(host_.memory.slots());
  for (const AgentId agent : view.members) {
    setup_.arenas[static_cast<std::size_t>(agent)] = host_.memory.arena(agent);
  }
  my_ranges_.clear();
  my_units_.clear();
  for (const member::Slice& slice : view.slices) {
    if (slice.owner != me_ || slice.blocks == 0) continue;
    my_ranges_.push_back({slice.first_block * kBlockElements, slice.blocks * kBlockElements});
    for (const Range& unit :
         reduce::cut_units(job_.space, slice.first_block, slice.blocks, job_.unit_elements)) {
      my_units_.push_back(unit);
    }
  }
  for (std::uint32_t shard = 0; shard < view.shard_agent.size(); ++shard) {
    if (view.shard_agent[shard] == me_) my_shards_.push_back(shard);
  }
  std::vector<std::uint32_t> more;
  std::set_difference(my_shards_.begin(), my_shards_.end(), before.begin(), before.end(),
                      std::back_inserter(more));
  if (in_round && my_shards_.size() < before.size() + more.size()) {
    more = my_shards_;
    gradients_->assign(my_shards_);
    gradients_->begin_round();
    rows_.clear();
    host_.counts.note("shards given away in a round");
  } else if (in_round) {
    gradients_->extend(more);
  } else {
    gradients_->assign(my_shards_);
  }
  const bool forget = host_.plant == Plant::kForgetStamps;
  make_exchange(forget ? my_units_ : round::unstamped(my_units_, host_.memory.stamps(), round_));
  partial_ = setup_.units != my_units_;
  if (partial_) host_.counts.note("units found stamped");
  return more;
}

void Process::make_exchange(std::vector<Range> units) {
  setup_.units = std::move(units);
  update_ = std::make_unique<TornUpdate>(job_, host_.memory, setup_.units, *undo_);
  update_->tear = tear;
  exchange_ = std::make_unique<round::Exchange>(setup_);
}

std::uint64_t Process::post(const round::Part& part, bool first) {
  if (first) {
    slot_ ^= 1;
    for (std::byte* old : mails_[slot_]) arena_.give_back(old);
    mails_[slot_].clear();
  }
  auto* at = static_cast<std::byte*>(arena_.take(round::part_bytes(part)));
  INSTEP_CHECK(at != nullptr, "an arena holds its mail");
  mails_[slot_].push_back(at);
  round::write_part(part, at);
  return arena_.offset(at);
}

bool Process::lead() const {
  if (!member_) return false;
  const auto all = member::participants(seat_->view(), seat_->op());
  return !all.empty() && all.front() == me_;
}

void Process::begin_round() {
  if (partial_) {
    make_exchange(round::unstamped(my_units_, host_.memory.stamps(), round_));
    partial_ = setup_.units != my_units_;
  }
  if (notes_ != host_.oracle.at(round_).notes) {
    throw Violation(cat("agent ", me_, " begins round ", round_, " with another book"));
  }
  failpoint("book.before_commit");
  book_->commit(round_, std::as_bytes(std::span(&notes_.state, 1)));
  failpoint("book.after_commit");
  gradients_->assign(my_shards_);
  gradients_->begin_round();
  rows_.clear();
}

Status Process::compute(std::uint32_t shard) {
  // Nobody may have touched what contributions are made of.
  const Truth& truth = host_.oracle.at(round_);
  const float* parameters = host_.memory.parameters(round_);
  if (std::memcmp(parameters, truth.parameters.data(), truth.parameters.size() * sizeof(float)) !=
      0) {
    throw Violation(cat("agent ", me_, " computes shard ", shard, " of round ", round_,
                        " from other parameters"));
  }
  gradients_->compute(shard, round_, notes_.state.counts, parameters);
  rows_.push_back(job_.row(shard, round_));
  beat();
  return {};
}

std::optional<round::Posted> Process::open_round(fabric::Ticket ticket, bool first) {
  if (!host_.hosted) return std::nullopt;
  // Up to that tensor; the rest comes with what is published, so that the bridge finds the part in
  // every state.
  const auto told =
      static_cast<std::size_t>(mix(job_.seed, round_, ticket) % (setup_.tensors.size() + 1));
  const auto& offsets = gradients_->open(
      [this, told, left = setup_.tensors.size()](std::size_t index, std::uint64_t offset) mutable {
        if (left-- <= told) return;
        round::settle(mails_[slot_].back(), index, offset);
        exchange_->tell_world();
        failpoint("round.told");
      });
  host_.counts.note("parts opened");
  const std::uint64_t mail = post(
      {ticket, round_, round::Directive::kNone, {}, gradients_->nodes(), offsets, {}, true}, first);
  return round::Posted{ticket, round_, mail, slot_};
}

round::Posted Process::post_round(fabric::Ticket ticket, bool first) {
  const auto directive = lead() && stop_asked_ ? round::Directive::kStop : round::Directive::kNone;
  std::vector<round::ShardRow> rows = rows_;
  if (host_.plant == Plant::kBackup && round_ % 16 == 7 && my_shards_.size() < job_.shards) {
    // A backup of the first shard that is not mine.
    std::uint32_t other = 0;
    while (std::binary_search(my_shards_.begin(), my_shards_.end(), other)) ++other;
    rows.push_back(job_.row(other, round_));
  }
  const std::uint64_t mail = post(
      {ticket, round_, directive, rows, gradients_->nodes(), gradients_->offsets(), {}}, first);
  return {ticket, round_, mail, slot_};
}

round::Judging Process::judging() {
  round::Judging judging;
  judging.clip_norm = job_.clip_norm;
  judging.before_apply = job_.clip_norm > 0 && host_.plant != Plant::kBeforeVerdict;
  judging.sums_wanted = job_.clip_norm > 0 || job_.norm_wanted;
  judging.block_sums = host_.memory.block_sums();
  return judging;
}

round::Update* Process::update() {
  update_->prepare(round_, notes_.state.updates, judging().before_apply);
  return update_.get();
}

Result<round::Posted> Process::post_gather(fabric::Ticket ticket, bool first) {
  if (op_ == Op::kFill) fill();
  if (op_ == Op::kFinish) {
    mine_.clear();
    if (lead()) mine_.resize(64);
  }
  const std::uint64_t mail =
      post({ticket, round_, round::Directive::kNone, {}, {}, {}, mine_}, first);
  return round::Posted{ticket, round_, mail, slot_};
}

void Process::fill() {
  float* const parameters = host_.memory.parameters(round_);
  for (const Range& range : my_ranges_) {
    for (std::uint64_t i = range.begin; i < range.end(); ++i) parameters[i] = job_.initial(i);
    failpoint("start.half_filled");
  }
  failpoint("start.filled");
}

}  // namespace instep::sim
