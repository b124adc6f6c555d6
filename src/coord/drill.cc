#include "coord/drill.h"

#include <signal.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "base/random.h"
#include "base/text.h"
#include "base/time.h"

namespace instep::coord {
namespace {

using member::AgentId;

// How soon a fault that waits for a round looks again.
constexpr std::int64_t kLookAgain = kMillisecond;
// A slow agent stops and goes on within this; longer where its turn to run would be too short.
constexpr std::int64_t kSlowPeriod = 20 * kMillisecond;
constexpr std::int64_t kLeastRun = kMillisecond;
// So many agents chaos kills or hangs without a round finished in between: three deaths in a row
// look like a job that kills its agents, and end the run.
constexpr int kMostInARound = 2;
// An agent that was asked to leave says so as soon as its round is over.
constexpr std::int64_t kLeavesWithin = 60 * kSecond;

// An agent that is stopped now and then, as long as it is a member.
struct Held {
  std::optional<std::int64_t> hangs_until;
  std::int64_t slow_since = 0, slow_period = 0, slow_run = 0;  // period 0: not slow
  bool stopped = false;

  bool slow_stops(std::int64_t now) const {
    return slow_period > 0 && (now - slow_since) % slow_period >= slow_run;
  }
  // When `stopped` has to be looked at again.
  std::int64_t next(std::int64_t now) const {
    if (hangs_until) return *hangs_until;
    const std::int64_t phase = (now - slow_since) % slow_period;
    return now - phase + (phase >= slow_run ? slow_period : slow_run);
  }
};

// What chaos does next: drawn whole before its time, so that the draws follow from the seed alone.
struct Strike {
  std::int64_t at = 0;
  FaultKind kind = FaultKind::kKill;
  std::uint64_t choice = 0;  // among the agents
  std::int64_t lasts_ns = 0;
};

class Injector {
 public:
  Injector(const DrillPlan& plan, DrillNews news)
      : plan_(plan), news_(std::move(news)), due_(plan.faults) {
    // At one round in the order in which they are written.
    std::stable_sort(due_.begin(), due_.end(),
                     [](const Fault& a, const Fault& b) { return a.round < b.round; });
    if (plan_.chaos) random_.emplace(plan_.chaos->seed);
  }

  std::optional<std::int64_t> turn(Steering& run, std::int64_t now) {
    const std::uint64_t round = run.round();
    std::size_t made = 0;
    for (; made < due_.size() && due_[made].round <= round; ++made) make(run, due_[made], now);
    due_.erase(due_.begin(), due_.begin() + static_cast<std::ptrdiff_t>(made));
    std::optional<std::int64_t> next;
    const auto by = [&next](std::int64_t at) { next = std::min(next.value_or(at), at); };
    if (!due_.empty()) by(now + kLookAgain);
    if (plan_.chaos) by(chaos(run, now));
    hold(run, now, by);
    return next;
  }

 private:
  bool has(FaultKind kind) const {
    const std::vector<FaultKind>& kinds = plan_.chaos->kinds;
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  }

  void make(Steering& run, const Fault& fault, std::int64_t now) {
    const Status status = apply(run, fault, now);
    if (!news_) return;
    if (status.ok()) return news_(to_text(fault), true);
    news_(cat(to_text(fault), ": left out, ", status.error().message), false);
  }

  Status apply(Steering& run, const Fault& fault, std::int64_t now) {
    switch (fault.kind) {
      case FaultKind::kJoin:
        return run.join();
      case FaultKind::kFlip:
        return run.flip_bit(mix(fault.round, flips_++));
      default:
        break;
    }
    const std::vector<AgentId> agents = run.agents();
    if (!in(agents, fault.agent)) {
      return absent(fault.agent, agents, run.round());
    }
    if (fault.kind == FaultKind::kLeave) return run.leave(fault.agent);
    if (fault.kind == FaultKind::kKill) {
      if (run.signal(fault.agent, SIGKILL)) return {};
      return absent(fault.agent, {}, run.round());
    }
    // hold() stops it, in this same turn.
    Held& held = held_[fault.agent];
    if (fault.kind == FaultKind::kHang) {
      held.hangs_until = std::max(held.hangs_until.value_or(now), now + fault.lasts_ns);
    } else {
      const auto least = static_cast<std::int64_t>(kLeastRun * fault.factor);
      held.slow_since = now;
      held.slow_period = std::max(kSlowPeriod, least);
      held.slow_run =
          static_cast<std::int64_t>(static_cast<double>(held.slow_period) / fault.factor);
    }
    return {};
  }

  static bool in(const std::vector<AgentId>& agents, AgentId agent) {
    return agent == kTheCoordinator ||
           std::find(agents.begin(), agents.end(), agent) != agents.end();
  }

  static Error absent(AgentId agent, const std::vector<AgentId>& agents, std::uint64_t round) {
    std::vector<std::string> names;
    for (const AgentId one : agents) names.push_back(cat(one));
    return {ErrorKind::kNotFound, cat("agent ", agent, " is not in the run at round ", round,
                                      names.empty() ? "" : cat("; there are ", join(names, ", ")))};
  }

  // Stops and wakes those that hang or are slow; forgets those that are members no longer.
  template <class By>
  void hold(Steering& run, std::int64_t now, const By& by) {
    if (held_.empty()) return;
    const std::vector<AgentId> agents = run.agents();
    for (auto it = held_.begin(); it != held_.end();) {
      auto& [agent, held] = *it;
      if (held.hangs_until && now >= *held.hangs_until) held.hangs_until.reset();
      const bool over = !in(agents, agent) || (!held.hangs_until && held.slow_period == 0);
      const bool stop = !over && (held.hangs_until || held.slow_stops(now));
      if (stop != held.stopped) run.signal(agent, stop ? SIGSTOP : SIGCONT);
      held.stopped = stop;
      if (!over) by(held.next(now));
      it = over ? held_.erase(it) : std::next(it);
    }
  }

  // Returns when it wants to be asked again.
  std::int64_t chaos(Steering& run, std::int64_t now) {
    if (!strike_) {
      wanted_at_first_ = run.wanted();
      draw(now);
    }
    if (run.round() > struck_round_) {
      struck_round_ = run.round();
      struck_ = 0;
    }
    if (now < strike_->at) return strike_->at;
    const bool hits = strike_->kind == FaultKind::kKill || strike_->kind == FaultKind::kHang;
    if (hits && struck_ >= kMostInARound) return now + kLookAgain;
    strike(run, now);
    draw(now);
    return strike_->at;
  }

  void draw(std::int64_t now) {
    const Chaos& chaos = *plan_.chaos;
    const auto wait = [this](double mean) {
      return static_cast<std::int64_t>(-std::log(1.0 - random_->uniform()) * mean);
    };
    const auto mean = static_cast<double>(chaos.mtbf_ns);
    Strike strike;
    strike.at = now + wait(mean);
    strike.kind = chaos.kinds[random_->below(chaos.kinds.size())];
    strike.choice = random_->next();
    strike.lasts_ns = std::max(kMillisecond, wait(mean / 4));
    strike_ = strike;
  }

  void strike(Steering& run, std::int64_t now) {
    const std::vector<AgentId> agents = run.agents();
    if (leaves_ &&
        (!in(agents, leaves_->agent) || run.wanted() < leaves_->wanted || now >= leaves_->until)) {
      leaves_.reset();
    }
    const std::optional<FaultKind> kind = possible(run, agents.size());
    if (!kind) return;
    Fault fault;
    fault.kind = *kind;
    fault.round = run.round();
    if (fault.kind != FaultKind::kJoin) fault.agent = agents[strike_->choice % agents.size()];
    if (fault.kind == FaultKind::kHang) fault.lasts_ns = strike_->lasts_ns;
    if (fault.kind == FaultKind::kKill || fault.kind == FaultKind::kHang) ++struck_;
    if (fault.kind == FaultKind::kLeave) {
      leaves_ = {fault.agent, run.wanted(), now + kLeavesWithin};
    } else if (fault.kind == FaultKind::kJoin && leaves_) {
      ++leaves_->wanted;
    }
    make(run, fault, now);
  }

  // What becomes of the kind that was drawn: the number of agents stays around what it was, a join
  // too many is a leave instead and the other way round.
  std::optional<FaultKind> possible(const Steering& run, std::size_t members) const {
    const std::uint32_t wanted = run.wanted(), first = wanted_at_first_;
    const bool room = wanted < first + std::max(1U, first / 2);
    const bool spare = !leaves_ && wanted > std::max(plan_.least_wanted, (first + 1) / 2) &&
                       members > 1 + held_.size();
    switch (strike_->kind) {
      case FaultKind::kJoin:
        if (room) return FaultKind::kJoin;
        break;
      case FaultKind::kLeave:
        if (spare) return FaultKind::kLeave;
        break;
      default:
        if (members > plan_.least_members) return strike_->kind;
        return std::nullopt;
    }
    if (room && has(FaultKind::kJoin)) return FaultKind::kJoin;
    if (spare && has(FaultKind::kLeave)) return FaultKind::kLeave;
    return std::nullopt;
  }

  DrillPlan plan_;
  DrillNews news_;
  std::vector<Fault> due_;  // by round
  std::map<AgentId, Held> held_;
  std::uint64_t flips_ = 0;
  // Chaos.
  std::optional<Random> random_;
  std::optional<Strike> strike_;
  std::uint32_t wanted_at_first_ = 0;
  std::uint64_t struck_round_ = 0;
  int struck_ = 0;  // since a round was finished
  // Who was asked to leave and has not said yet that it does: one more counts as wanted till then.
  struct Leaves {
    AgentId agent;
    std::uint32_t wanted;  // with it
    std::int64_t until;    // it may have died instead, and another be in its place
  };
  std::optional<Leaves> leaves_;
};

}  // namespace

Drill make_drill(const DrillPlan& plan, DrillNews news) {
  const auto injector = std::make_shared<Injector>(plan, std::move(news));
  return [injector](Steering& run, std::int64_t now) { return injector->turn(run, now); };
}

}  // namespace instep::coord
