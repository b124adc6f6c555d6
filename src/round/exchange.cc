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
using reduce::Node;
using reduce::Range;

namespace {

bool canonical(std::uint32_t shards, const Node& node) {
  if (node.count == 0 || node.first >= shards || node.count > shards - node.first) return false;
  const std::vector<Node> cover = reduce::maximal_nodes(shards, node.first, node.count);
  return cover.size() == 1 && cover.front() == node;
}

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
  due_.resize(setup_.view.members.size());
  residuals_.resize(setup_.coding.residuals());
  if (setup_.carried) flags_.resize(setup_.carried->parts.size());
  outcome_.rows.resize(setup_.shards);
}

AgentWords& Exchange::words(AgentId agent) const { return setup_.control->agents[agent]; }

bool Exchange::owner() const {
  return std::find(owners_.begin(), owners_.end(), setup_.me) != owners_.end();
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
  const std::vector<ShardRow> rows = std::move(outcome_.rows);
  outcome_ = Outcome();
  outcome_.rows.assign(rows.size(), ShardRow());
  if (setup_.shuffle != 0) {
    Random random(mix(setup_.shuffle, posted.round, static_cast<std::uint64_t>(setup_.me)));
    for (std::size_t i = order_.size(); i > 1; --i)
      std::swap(order_[i - 1], order_[random.below(i)]);
  }
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
  for (const AgentId agent : parties_) {
    if (agent != setup_.me && words(agent).waiting.load(std::memory_order_seq_cst) != 0) {
      fabric::wake(word);
      return;
    }
  }
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
      failpoint("exchange.published");
      phase_ = Phase::kAwaitParts;
      return Step::kAgain;
    }
    case Phase::kAwaitParts: {
      if (const Step step = await(parties_, &AgentWords::published, Phase::kCombine);
          step == Step::kWait) {
        return step;
      }
      failpoint("exchange.parts");
      return take_parts();
    }
    case Phase::kCombine: {
      if (at_ < order_.size()) {
        do_unit(order_[at_++]);
        failpoint("exchange.combined");
        return Step::kAgain;
      }
      at_ = 0;
      phase_ = judging_.before_apply && !void_ ? Phase::kJudge : Phase::kFinish;
      return Step::kAgain;
    }
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

Exchange::Step Exchange::take_parts() {
  sources_.clear();
  for (const AgentId agent : parties_) {
    const std::span<const std::byte> arena = setup_.arenas[static_cast<std::size_t>(agent)];
    Status status;
    auto part = find_part(words(agent), arena, posted_.ticket);
    if (!part.ok()) {
      status = part.error();
    } else if (!*part) {
      return Step::kStale;  // it goes on under a later view
    } else if ((*part)->round != posted_.round) {
      status = Error{ErrorKind::kCorrupt,
                     cat("it is at round ", (*part)->round, " and not at ", posted_.round)};
    } else if (gather_) {
      gathered_.push_back((*part)->bytes);
    } else {
      status = take_part(agent, **part);
    }
    if (!status.ok()) {
      error_ = {status.error().kind, cat("agent ", agent, ": ", status.error().message)};
      return Step::kFailed;
    }
  }
  if (gather_) {
    phase_ = Phase::kDone;
    return Step::kDone;
  }
  if (recut_) {
    recut_ = false;
    nodes_.clear();
    for (const auto& of : due_) nodes_.insert(nodes_.end(), of.begin(), of.end());
    combiner_ = reduce::Combiner(setup_.shards, nodes_);
    row_.resize(nodes_.size());
    if (setup_.coding.codec != reduce::Codec::kNone) {
      coded_.emplace(setup_.shards, nodes_, setup_.coding);
    }
  }
  weigh();
  return Step::kAgain;
}

// A member's nodes cover its shards, each once. How it cuts them is its own business: one that took
// over a shard in mid-round has not added it to what it had.
Status Exchange::take_nodes(std::size_t place, std::span<const Node> nodes) {
  if (std::equal(nodes.begin(), nodes.end(), due_[place].begin(), due_[place].end())) return {};
  const AgentId agent = setup_.view.members[place];
  const auto& holder = setup_.view.shard_agent;
  std::vector<bool> seen(setup_.shards);
  std::size_t covered = 0;
  for (const Node& node : nodes) {
    if (!canonical(setup_.shards, node) || !reduce::in_bounds(setup_.coding.nodes, node)) {
      return Error{ErrorKind::kCorrupt, "it published a sum that is none of the tree"};
    }
    for (std::uint32_t shard = node.first; shard < node.first + node.count; ++shard) {
      if (holder[shard] != agent || seen[shard]) {
        return Error{ErrorKind::kCorrupt, "it published other shards than the view gives it"};
      }
      seen[shard] = true;
      ++covered;
    }
  }
  if (covered != static_cast<std::size_t>(std::count(holder.begin(), holder.end(), agent))) {
    return Error{ErrorKind::kCorrupt, "it published fewer shards than the view gives it"};
  }
  due_[place].assign(nodes.begin(), nodes.end());
  recut_ = true;
  return {};
}

Status Exchange::take_part(AgentId agent, const Part& part) {
  const auto& members = setup_.view.members;
  const auto place =
      static_cast<std::size_t>(std::find(members.begin(), members.end(), agent) - members.begin());
  INSTEP_RETURN_IF_ERROR(take_nodes(place, part.nodes));
  const std::size_t tensors = setup_.tensors.size();
  if (part.offsets.size() != part.nodes.size() * tensors) {
    return Error{ErrorKind::kCorrupt, cat("it published ", part.offsets.size(), " tensors and not ",
                                          part.nodes.size() * tensors)};
  }
  const std::span<const std::byte> arena = setup_.arenas[static_cast<std::size_t>(agent)];
  for (std::size_t i = 0; i < part.offsets.size(); ++i) {
    const std::uint64_t offset = part.offsets[i];
    if (offset == kAbsent) {
      sources_.push_back(nullptr);
      continue;
    }
    const std::uint64_t bytes = setup_.tensors[i % tensors].count * sizeof(float);
    if (offset % alignof(float) != 0 || offset > arena.size() || bytes > arena.size() - offset) {
      return Error{ErrorKind::kCorrupt, "it published a gradient outside its arena"};
    }
    sources_.push_back(reinterpret_cast<const float*>(arena.data() + offset));
  }
  for (const ShardRow& row : part.rows) {
    if (row.shard >= setup_.shards || setup_.view.shard_agent[row.shard] != agent) {
      return Error{ErrorKind::kCorrupt,
                   cat("it published shard ", row.shard, ", which is not its")};
    }
    outcome_.rows[row.shard] = row;
  }
  if (agent == members.front()) outcome_.directive = part.directive;
  return {};
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
  factor_ = outcome_.samples == 0 ? 0.0F : static_cast<float>(setup_.full_samples / total);
  if (outcome_.bad_shard || outcome_.samples == 0) void_ = true;
  if (setup_.carried && !void_) combine_flags();
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
