// What goes wrong in a run, and when: all of it follows from the seed.
#include <signal.h>

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "cluster.h"

namespace instep::sim {

const char* name_of(Fault fault) {
  static constexpr const char* kNames[] = {"kill",
                                           "kill two",
                                           "kill all",
                                           "kill torn",
                                           "kill at a point",
                                           "kill a joiner",
                                           "stop",
                                           "stop torn",
                                           "hang",
                                           "suspend",
                                           "stall",
                                           "leave",
                                           "scale",
                                           "kill the coordinator",
                                           "stall the coordinator",
                                           "split"};
  return kNames[static_cast<int>(fault)];
}

const char* name_of(Plant plant) {
  static constexpr const char* kNames[] = {
      "none",        "early-proof",     "no-undo",        "late-undo",       "forget-stamps",
      "reuse-slot",  "backup",          "count-twice",    "forget-carried",  "forget-book",
      "same-number", "plan-too-early",  "death-too-late", "death-too-early", "before-verdict",
      "old-book",    "flag-after-look", "own-gap",        "send-first",      "hear-twice",
      "forget-told", "old-lineup",      "go-early",       "no-halt",         "no-stands",
      "no-donor",    "world-reused",    "stale-link",     "done-once",       "pending",
      "half-state"};
  return kNames[static_cast<int>(plant)];
}

void Cluster::plan_faults() {
  const std::uint64_t many = hosted ? place_.faults : 6 + random.below(7);
  for (std::uint64_t i = 0; i < many; ++i) {
    const auto fault = static_cast<Fault>(random.below(static_cast<int>(Fault::kLast) + 1));
    faults_.push_back(
        {random.below(job.rounds - std::min<std::uint64_t>(job.rounds - 1, 40)), fault});
  }
  // Some fall together.
  if (many > 0 && random.below(2) == 0) faults_.back().round = faults_.front().round;
  std::sort(faults_.begin(), faults_.end(),
            [](const Planned& a, const Planned& b) { return a.round < b.round; });
  if (hosted) return;
  // Most runs end by themselves.
  const std::uint64_t dice = random.below(120);
  ending_ = dice < 8    ? Ending::kStop
            : dice < 10 ? Ending::kAbandon
            : dice < 11 ? Ending::kFailure
            : dice < 12 ? Ending::kEarlyStop
                        : Ending::kNone;
  if (ending_ == Ending::kEarlyStop) {
    push(upto(12 * kMillisecond), What::kEnding, -1, 0);
  } else if (ending_ != Ending::kNone) {
    end_at_ = job.rounds - std::min(job.rounds, 1 + random.below(8));
  }
}

std::vector<AgentId> Cluster::members() {
  std::vector<AgentId> out;
  if (!state().view) return out;
  for (const AgentId agent : state().view->members) {
    const Slot& it = slot(agent);
    if (lives(it) && !it.doomed && it.process->in_rounds()) out.push_back(agent);
  }
  return out;
}

AgentId Cluster::pick(const std::vector<AgentId>& from) { return from[random.below(from.size())]; }

// Three deaths in a row without a round between them end a run, and rightly so.
bool Cluster::calm() const { return kills_ == 0; }

void Cluster::inject() {
  fault_due_ = false;
  if (state().phase != member::Phase::kRunning || next_fault_ >= faults_.size()) return;
  // What cannot be had for long gives way.
  const bool late = begun_ + 50 > job.rounds && tries_ > 0;
  if (++tries_ > 12 || late) faults_[next_fault_].fault = Fault::kStop;
  if (!inject(faults_[next_fault_].fault)) {
    fault_due_ = true;
    push(kMillisecond + upto(3 * kMillisecond), What::kFault, -1, 0);
    return;
  }
  counts.note(cat("fault ", name_of(faults_[next_fault_].fault)));
  tries_ = 0;
  ++injected_;
  ++next_fault_;
  if (next_fault_ < faults_.size() && faults_[next_fault_].round < begun_) {
    fault_due_ = true;
    push(upto(3 * kMillisecond), What::kFault, -1, 0);
  }
}

// How a run ends that does not end by itself.
void Cluster::end() {
  const auto all = members();
  counts.note(cat("ending ", static_cast<int>(ending_)));
  trace(-1, cat("ending ", static_cast<int>(ending_)));
  switch (ending_) {
    case Ending::kNone:
      return;
    case Ending::kStop:
      return tell(member::StopAsked{"stop", false, false});
    case Ending::kEarlyStop:
      return tell(member::StopAsked{"interrupt", true, true});
    case Ending::kAbandon:
      tell(member::StopAsked{"interrupt", true, true});
      return tell(member::StopAsked{"interrupt", true, true});
    case Ending::kFailure:
      if (all.empty()) return push(kMillisecond, What::kEnding, -1, 0);
      const AgentId agent = pick(all);
      send(agent, wire::failed_of(invalid("a bad loss")));
      slot(agent).signal = 0;
      slot(agent).code = 2;
      return die(agent);
  }
}

// False: not now.
bool Cluster::inject(Fault fault) {
  const std::vector<AgentId> all = members();
  if (all.empty()) return false;
  const auto killed = [this](std::uint64_t kills) {
    kills_ += kills;
    killed_in_ = begun_;
  };
  trace(-1, cat("fault: ", name_of(fault)));
  switch (fault) {
    case Fault::kKill:
      if (kills_ > 1) return false;
      killed(1);
      kill(pick(all), upto(100 * kMicrosecond), SIGKILL);
      return true;
    case Fault::kKillTwo:
      if (!calm()) return false;
      killed(2);
      kill(pick(all), upto(kMillisecond), SIGKILL);
      kill(pick(all), upto(kMillisecond), SIGKILL);
      return true;
    case Fault::kKillAll:
      if (!calm()) return false;
      killed(2);
      for (const AgentId agent : all) kill(agent, upto(200 * kMicrosecond), SIGKILL);
      return true;
    case Fault::kKillTorn:
      if (kills_ > 1) return false;
      killed(1);
      slot(pick(all)).die_torn = true;
      return true;
    case Fault::kKillPoint:
      if (kills_ > 1) return false;
      // Views are taken up seldom: one that follows another's death.
      if (all.size() > 1 && calm() && random.below(3) == 0) {
        const std::size_t first = random.below(all.size());
        const AgentId other = all[(first + 1) % all.size()];
        killed(2);
        slot(other).die_where = random.below(2) == 0 ? "view.take" : "view.taken";
        kill(all[first], upto(kMillisecond), SIGKILL);
        return true;
      }
      killed(1);
      if (random.below(4) == 0) {  // gathers, too, are few
        static constexpr const char* kGathers[] = {
            "gather.begin", "gather.attempt", "gather.settled", "gather.posted", "gather.done"};
        slot(pick(all)).die_where = kGathers[random.below(std::size(kGathers))];
      } else {
        slot(pick(all)).die_at_point = random.below(24);
      }
      return true;
    case Fault::kKillJoiner: {
      if (state().failed_starts > 0 || kills_ > 1) return false;
      for (AgentId agent = 0; agent < count(); ++agent) {
        Slot& it = slot(agent);
        if (!lives(it) || it.doomed || it.process->in_rounds() || it.process->done()) continue;
        if (!state().agents[static_cast<std::size_t>(agent)].joining) continue;
        if (random.below(2) == 0) {
          it.die_at_point = random.below(3);
        } else {
          kill(agent, upto(5 * kMillisecond), SIGKILL);
        }
        killed(1);
        counts.note("joiners killed");
        return true;
      }
      // There is none: one is made.
      if (random.below(40) != 0) return false;
      killed(1);
      kill(pick(all), 0, SIGKILL);
      return true;
    }
    case Fault::kStop:
      stop(pick(all), upto(random.below(2) == 0 ? 2 * kMillisecond : 150 * kMillisecond));
      return true;
    case Fault::kStopTorn:
      slot(pick(all)).stop_torn = true;
      return true;
    case Fault::kHang:
      if (kills_ > 1) return false;
      killed(1);
      stop(pick(all), 300 * kMillisecond + upto(4 * kSecond));
      return true;
    case Fault::kSuspend:
      return suspend(upto(2 * kSecond) + (random.below(2) == 0 ? 400 * kMillisecond : 0));
    case Fault::kStall:
      stalled_until_ =
          std::max(stalled_until_,
                   now() + upto(random.below(2) == 0 ? 20 * kMillisecond : 400 * kMillisecond));
      return true;
    case Fault::kLeave:
      if (all.size() < 2 || state().wanted < 2 || !calm()) return false;
      push(0, What::kTerminate, pick(all), slot(pick(all)).life);
      return true;
    case Fault::kScale:
      tell(member::ScaleAsked{1 + static_cast<std::uint32_t>(random.below(6))});
      look_again();
      return true;
    case Fault::kKillCoordinator:
      // Somewhere in what it hears next, which is often while it is idle.
      if (!desk_.alive || desk_.die_at) return false;
      if (random.below(4) == 0) {
        kill_desk("");
      } else {
        desk_.die_at = random.below(12);
      }
      // So that there is something to lose, if somebody can be spared.
      if (random.below(2) == 0 && kills_ <= 1) {
        killed(1);
        kill(pick(all), upto(2 * kMillisecond), SIGKILL);
      }
      return true;
    case Fault::kStallCoordinator:
      desk_.stalled_until =
          std::max(desk_.stalled_until,
                   now() + upto(random.below(2) == 0 ? 20 * kMillisecond : 400 * kMillisecond));
      return true;
    case Fault::kSplit: {
      // Nothing passes between launcher and coordinator, in one direction or both.
      const Nanoseconds until = now() + upto(random.below(2) == 0 ? 20 * kMillisecond : kSecond);
      const std::uint64_t ways = random.below(3);
      if (ways != 0) desk_.in_at = std::max(desk_.in_at, until);
      if (ways != 1) desk_.out_at = std::max(desk_.out_at, until);
      counts.note(ways == 2 ? "split both ways" : "split one way");
      return true;
    }
  }
  return true;
}

}  // namespace instep::sim
