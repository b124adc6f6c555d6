#include "round/exchange.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/failpoint.h"
#include "base/random.h"
#include "base/text.h"
#include "fabric/wait.h"

namespace instep::round {

using fabric::AgentWords;
using member::AgentId;
using reduce::Range;

namespace {

constexpr std::uint32_t kNoShard = ~0U;  // of a row that has not come

}  // namespace

Exchange::Exchange(Setup setup) : setup_(std::move(setup)), combiner_(1, {{0, 1}}) {
  for (const AgentId agent : setup_.view.members) {
    const auto& slices = setup_.view.slices;
    if (std::any_of(slices.begin(), slices.end(), [agent](const member::Slice& slice) {
          return slice.owner == agent && slice.blocks > 0;
        })) {
      owners_.push_back(agent);
    }
  }
  for (const Range& unit : setup_.units) {
    const auto touching =
        std::partition_point(setup_.tensors.begin(), setup_.tensors.end(),
                             [&unit](const Range& tensor) { return tensor.end() <= unit.begin; });
    unit_tensor_.push_back(static_cast<std::size_t>(touching - setup_.tensors.begin()));
  }
  order_.resize(setup_.units.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  givers_ = setup_.hosted ? std::vector{kWorldId} : setup_.view.members;
  due_.resize(givers_.size());
  for (std::size_t place = 0; place < givers_.size(); ++place) {
    std::size_t& held = held_.emplace_back(0);
    for (std::uint32_t shard = 0; shard < setup_.shards; ++shard) held += has(place, shard) ? 1 : 0;
  }
  final_ = setup_.hosted && setup_.coding.packs();
  residuals_.resize(setup_.coding.residuals());
  if (setup_.carried) flags_.resize(setup_.carried->parts.size());
  outcome_.rows.resize(setup_.shards);
}

AgentWords& Exchange::words(AgentId agent) const { return setup_.control->agents[agent]; }

bool Exchange::owner() const {
  return std::find(owners_.begin(), owners_.end(), setup_.me) != owners_.end();
}

void Exchange::open(const Posted& posted) {
  AgentWords& mine = words(setup_.me);
  mine.mail[posted.slot].store(posted.mail, std::memory_order_release);
  fabric::publish(mine.opened, posted.ticket);
  tell_world();
}

void Exchange::tell_world() const {
  AgentWords& mine = words(setup_.me);
  fabric::publish(mine.news, mine.news.load(std::memory_order_relaxed) + 1);
  if (words(kWorldId).waiting.load(std::memory_order_seq_cst) != 0) fabric::wake(mine.news);
}

void Exchange::begin(const Posted& posted, const Judging& judging, Update* update) {
  posted_ = posted;
  judging_ = judging;
  update_ = update;
  gather_ = false;
  parties_ = setup_.view.members;
  phase_ = Phase::kPublish;
  at_ = 0;
  verdict_ = 1;
  void_ = false;
  flags_known_ = false;
  const std::vector<ShardRow> rows = std::move(outcome_.rows);
  outcome_ = Outcome();
  outcome_.rows.assign(rows.size(), ShardRow{kNoShard});
  if (setup_.shuffle != 0) {
    Random random(mix(setup_.shuffle, posted.round, static_cast<std::uint64_t>(setup_.me)));
    for (std::size_t i = order_.size(); i > 1; --i)
      std::swap(order_[i - 1], order_[random.below(i)]);
  }
  open_ = order_;
}

void Exchange::begin_gather(const Posted& posted, std::vector<AgentId> participants) {
  posted_ = posted;
  gather_ = true;
  parties_ = std::move(participants);
  phase_ = Phase::kPublish;
  at_ = 0;
  gathered_.clear();
}

std::vector<std::span<const std::byte>> Exchange::gathered() const { return gathered_; }

void Exchange::say(std::atomic<fabric::Ticket>& word) {
  fabric::publish(word, posted_.ticket);
  const auto may_sleep = [this](AgentId agent) {
    return agent != setup_.me && words(agent).waiting.load(std::memory_order_seq_cst) != 0;
  };
  if (std::any_of(parties_.begin(), parties_.end(), may_sleep)) fabric::wake(word);
}

Exchange::Step Exchange::await(const std::vector<AgentId>& agents,
                               std::atomic<fabric::Ticket> AgentWords::*word, Phase next) {
  for (; at_ < agents.size(); ++at_) {
    const std::atomic<fabric::Ticket>& theirs = words(agents[at_]).*word;
    if (theirs.load(std::memory_order_acquire) < posted_.ticket) {
      awaited_ = {&theirs, posted_.ticket, agents[at_]};
      return Step::kWait;
    }
  }
  at_ = 0;
  phase_ = next;
  return Step::kAgain;
}

Exchange::Step Exchange::step() {
  switch (phase_) {
    case Phase::kPublish: {
      AgentWords& mine = words(setup_.me);
      mine.mail[posted_.slot].store(posted_.mail, std::memory_order_release);
      failpoint("exchange.mail");
      say(mine.published);
      if (setup_.hosted) tell_world();
      failpoint("exchange.published");
      phase_ = Phase::kAwaitParts;
      return Step::kAgain;
    }
    case Phase::kAwaitParts: {
      const auto& from = gather_ ? parties_ : givers_;
      const auto word = setup_.hosted && !gather_ ? &AgentWords::told : &AgentWords::published;
      if (const Step step = await(from, word, Phase::kCombine); step == Step::kWait) return step;
      failpoint("exchange.parts");
      return take_parts();
    }
    case Phase::kCombine:
      return combine_next();
    case Phase::kJudge: {
      failpoint("exchange.judge");
      say(words(setup_.me).judged);
      failpoint("exchange.judged");
      phase_ = Phase::kAwaitJudged;
      return Step::kAgain;
    }
    case Phase::kAwaitJudged: {
      if (const Step step = await(owners_, &AgentWords::judged, Phase::kApply);
          step == Step::kWait) {
        return step;
      }
      judge();
      failpoint("exchange.verdict");
      return Step::kAgain;
    }
    case Phase::kApply: {
      if (at_ < order_.size()) {
        const std::size_t unit = order_[at_++];
        void_ ? update_->carry(unit) : update_->apply(unit, verdict_);
        failpoint("exchange.applied");
        return Step::kAgain;
      }
      at_ = 0;
      phase_ = Phase::kFinish;
      return Step::kAgain;
    }
    case Phase::kFinish: {
      if (const Step step = take_whole(); step != Step::kAgain) return step;
      failpoint("exchange.finish");
      say(words(setup_.me).finished);
      failpoint("exchange.finished");
      phase_ = Phase::kAwaitFinished;
      return Step::kAgain;
    }
    case Phase::kAwaitFinished: {
      if (const Step step = await(owners_, &AgentWords::finished, Phase::kDone);
          step == Step::kWait) {
        return step;
      }
      // Without a verdict the sums are complete only now; they judge nothing, they are told.
      if (judging_.sums_wanted && !judging_.before_apply && !void_) judge();
      phase_ = Phase::kDone;
      outcome_.applied = !void_;
      return Step::kDone;
    }
    case Phase::kDone:
      return Step::kDone;
  }
  return Step::kDone;
}

// One unit whose sums stand, whichever comes next in the order.
Exchange::Step Exchange::combine_next() {
  constexpr std::size_t kCombined = ~std::size_t{0};
  // Read before the look at the units, so that what comes during it is no reason to sleep.
  if (at_ == 0 && stamps_ != nullptr) {
    seen_ = words(kWorldId).arrivals.load(std::memory_order_acquire);
  }
  for (; at_ < open_.size(); ++at_) {
    if (!stands(open_[at_])) continue;
    do_unit(std::exchange(open_[at_++], kCombined));
    failpoint("exchange.combined");
    return Step::kAgain;
  }
  at_ = 0;
  std::erase(open_, kCombined);
  if (!open_.empty()) {
    awaited_ = {&words(kWorldId).arrivals, seen_ + 1, kWorldId};
    return Step::kWait;
  }
  phase_ = judging_.before_apply && !void_ ? Phase::kJudge : Phase::kFinish;
  return Step::kAgain;
}

// Of the world's part, that the round is whole. Rounds stay apart (rule 3) though members of a host
// do not wait for each other's parts: the bridge publishes when it has read them all. So whoever
// gets past this point knows that each of them has published and that nobody reads those parts any
// more; and who has published a later round's is done with the bridge's own of this one.
Exchange::Step Exchange::take_whole() {
  if (!setup_.hosted) return Step::kAgain;
  const AgentWords& world = words(kWorldId);
  if (world.published.load(std::memory_order_acquire) < posted_.ticket) {
    awaited_ = {&world.published, posted_.ticket, kWorldId};
    return Step::kWait;
  }
  const auto part = find_part(world, setup_.world, posted_.ticket);
  if (!part.ok()) {
    error_ = {part.error().kind, cat("the other hosts: ", part.error().message)};
    return Step::kFailed;
  }
  if (!*part) return Step::kStale;
  // The rest is a function of the job; what is asked for may have changed since it was told, with
  // the agent that asks.
  outcome_.directive = (*part)->directive;
  return Step::kAgain;
}

// Everything about the round that follows from its rows; the same on every member.
void Exchange::weigh() {
  std::vector<double> losses;
  for (const ShardRow& row : outcome_.rows) {
    outcome_.samples += row.samples;
    losses.push_back(row.samples == 0 ? 0.0 : row.loss * row.samples);
    if (row.samples > 0 && !std::isfinite(row.loss) && !outcome_.bad_shard) {
      outcome_.bad_shard = row.shard;
    }
  }
  const auto total = static_cast<double>(outcome_.samples);
  outcome_.loss = outcome_.samples == 0 ? 0.0 : reduce::tree_sum(losses) / total;
  factor_ = mean_factor(setup_.full_samples, outcome_.samples);
  if (outcome_.bad_shard || outcome_.samples == 0) void_ = true;
}

void Exchange::judge() {
  std::uint64_t blocks = 0;
  for (const member::Slice& slice : setup_.view.slices) blocks += slice.blocks;
  outcome_.gradient_norm = std::sqrt(reduce::tree_sum({judging_.block_sums, blocks}));
  if (!std::isfinite(outcome_.gradient_norm)) {
    outcome_.bad_norm = true;
    if (judging_.before_apply) void_ = true;
    return;
  }
  if (judging_.clip_norm > 0) {
    verdict_ =
        static_cast<float>(std::min(1.0, judging_.clip_norm / (outcome_.gradient_norm + 1e-6)));
  }
}

}  // namespace instep::round
