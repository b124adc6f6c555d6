// What goes wrong between hosts, and when: all of it follows from the seed.
#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "hosts.h"

namespace instep::sim {

const char* name_of(HostFault fault) {
  static constexpr const char* kNames[] = {
      "break a link",        "break two links",         "partition",
      "bridge stands still", "suspend a host",          "kill a host",
      "kill the first host", "lose a machine",          "leave as a host",
      "long partition",      "suspend a host for long", "stop all hosts",
      "join as a host"};
  return kNames[static_cast<int>(fault)];
}

void Hosts::plan_faults() {
  const std::uint64_t many = 1 + random_.below(5);
  for (std::uint64_t i = 0; i < many; ++i) {
    auto fault = static_cast<HostFault>(random_.below(static_cast<int>(HostFault::kLast) + 1));
    // Much is over with the first host.
    if (fault == HostFault::kKillFirst && random_.below(2) == 0) fault = HostFault::kBreakLink;
    if (fault == HostFault::kStop && random_.below(2) == 0) fault = HostFault::kBreakTwo;
    // Some as hosts end.
    const std::uint64_t round =
        random_.below(8) == 0 ? job_.rounds - 1 : random_.below(job_.rounds);
    faults_.push_back({round, fault});
  }
  if (hub_->state().rules.wait_limit > 0) {
    constexpr HostFault kLosses[] = {HostFault::kKill, HostFault::kVanish, HostFault::kLeave};
    faults_.push_back({random_.below(job_.rounds), kLosses[random_.below(std::size(kLosses))]});
  }
  std::sort(faults_.begin(), faults_.end(),
            [](const Planned& a, const Planned& b) { return a.round < b.round; });
}

void Hosts::round_begun(HostId host, std::uint64_t round) {
  One::Fate& fate = hosts_[host]->fate;
  if (fate == One::Fate::kComes) fate = One::Fate::kWell;
  // What was whole when it began to stand still is gone on with, and no more.
  const bool together = hosts_[host]->cluster->orphaned().empty();
  if (begun_at_wait_ > 0 && together && round > begun_at_wait_) {
    throw Violation(cat("round ", round, " is begun in a wait for hosts"));
  }
  if (round + 1 <= begun_) return;
  begun_ = round + 1;
  if (fault_due_ || next_fault_ >= faults_.size() || faults_[next_fault_].round > round) return;
  fault_due_ = true;
  const Nanoseconds after = timeline_.upto(3 * kMillisecond);
  timeline_.push(after, *this, static_cast<std::uint32_t>(What::kFault), -1, 0);
}

void Hosts::happen(const Event& event) {
  timeline_.note(mix(event.at, event.what));
  switch (static_cast<What>(event.what)) {
    case What::kFault:
      return inject();
    case What::kHeal:
      return heal();
    case What::kInWait:
      return happens_in_wait();
    case What::kBreak: {
      // A host whose link to the hub breaks before the first Go is lost, and rightly so.
      const HostId first = hub_->state().gone_on ? 0 : 1;
      if (hosts_.size() - first < 2) return;
      const auto one = static_cast<HostId>(first + random_.below(hosts_.size() - first));
      const auto other = static_cast<HostId>(first + random_.below(hosts_.size() - first));
      if (one == other || !net_.break_link(one, other)) return;
      trace(cat("a link between hosts ", one, " and ", other, " breaks"));
      counts_.note(first == 0 ? "links broken in a line-up" : "links broken in the first line-up");
    }
  }
}

// While some have taken it and others not.
void Hosts::break_in_lineup() {
  if (random_.below(6) != 0) return;
  const Nanoseconds after = timeline_.upto(500 * kMicrosecond);
  timeline_.push(after, *this, static_cast<std::uint32_t>(What::kBreak), -1, 0);
}

// Others come, or not, and what may happen at any time happens then.
void Hosts::happens_in_wait() {
  if (!hub_->state().waiting || hosts_[0]->cluster->gone()) return;
  const std::uint64_t dice = random_.below(10);
  if (dice < 6) {
    if (join()) counts_.note("hosts that come in a wait");
    return;
  }
  const auto fault =
      dice == 6   ? HostFault::kStop
      : dice == 7 ? HostFault::kKillFirst
                  : static_cast<HostFault>(random_.below(static_cast<int>(HostFault::kLast) + 1));
  if (!inject(fault)) return;
  counts_.note(cat("in a wait: ", name_of(fault)));
  ++injected_;
}

void Hosts::inject() {
  fault_due_ = false;
  const HostFault fault = faults_[next_fault_].fault;
  const bool done = inject(fault);
  if (done) {
    counts_.note(cat("fault ", name_of(fault)));
    trace(cat("fault: ", name_of(fault)));
    ++injected_;
  }
  tries_ = done ? 0 : tries_ + 1;
  if (done || tries_ > 20) {
    tries_ = 0;
    ++next_fault_;
  }
  if (next_fault_ >= faults_.size()) return;
  // Some fall into what the one before has led to.
  const bool together = done && random_.below(3) == 0;
  if (together) faults_[next_fault_].round = std::min(faults_[next_fault_].round, begun_);
  if (faults_[next_fault_].round >= begun_ && !together) return;
  fault_due_ = true;
  const Nanoseconds after = random_.below(2) == 0 ? kMillisecond : 300 * kMillisecond;
  timeline_.push(timeline_.upto(after), *this, static_cast<std::uint32_t>(What::kFault), -1, 0);
}

std::vector<HostId> Hosts::living() const {
  std::vector<HostId> out;
  for (HostId host = 0; host < hosts_.size(); ++host) {
    if (hosts_[host]->cluster->present()) out.push_back(host);
  }
  return out;
}

// False: not now.
bool Hosts::inject(HostFault fault) {
  const std::vector<HostId> all = living();
  const bool of_one = fault == HostFault::kKillFirst || fault == HostFault::kStop;
  if (all.size() < (of_one ? 1 : 2) || !hub_->state().gone_on) return false;
  const HostId one = pick(all);
  HostId other = pick(all);
  while (other == one && all.size() > 1) other = pick(all);
  switch (fault) {
    case HostFault::kBreakLink:
      return net_.break_link(one, other);
    case HostFault::kBreakTwo: {
      const bool first = net_.break_link(one, other);
      return net_.break_link(pick(all), one) || first;
    }
    case HostFault::kPartition:
    case HostFault::kPartitionLong:
      return partition(fault == HostFault::kPartition);
    case HostFault::kStand:
      hosts_[one]->loop->stand_still(
          timeline_.now() + timeline_.upto(random_.below(2) == 0 ? 5 * kMillisecond : 2 * kSecond));
      return true;
    case HostFault::kSuspend:
    case HostFault::kSuspendLong:
      return suspend(fault == HostFault::kSuspend);
    case HostFault::kKill:
      return one != 0 && kill(one, false);
    case HostFault::kKillFirst:
      return all.front() == 0 && kill(0, false);
    case HostFault::kVanish:
      return kill(one, true);
    case HostFault::kJoin:
      return join();
    case HostFault::kStop:
      if (all.front() != 0 || stop_asked_) return false;
      stop_asked_ = true;
      hosts_[0]->cluster->stop_run();
      return true;
    case HostFault::kLeave:
      if (!hosts_[one]->cluster->leave()) return false;
      hosts_[one]->fate = One::Fate::kGoes;
      return true;
  }
  return false;
}

// Shorter than anybody's patience, or not.
Nanoseconds Hosts::time_apart(bool patient) {
  if (patient) return timeline_.upto(random_.below(2) == 0 ? 50 * kMillisecond : 8 * kSecond);
  return 9 * kSecond + timeline_.upto(random_.below(2) == 0 ? 10 * kSecond : 35 * kSecond);
}

void Hosts::may_go(HostId host) {
  One::Fate& fate = hosts_[host]->fate;
  const bool there = fate == One::Fate::kWell || fate == One::Fate::kComes;
  if (host != 0 && there) fate = One::Fate::kMayGo;
}

// It may be lost to all; the first one never is, but all may lose it.
void Hosts::may_be_alone(HostId host) {
  for (HostId it = 0; it < hosts_.size(); ++it) {
    if (it == host || host == 0) may_go(it);
  }
}

// Who is left does the round that it has begun, whoever dies.
bool Hosts::kill(HostId host, bool vanishes) {
  One& it = *hosts_[host];
  trace(cat("host ", host, vanishes ? " has no power" : " is killed"));
  if (host == 0) may_be_alone(0);
  it.fate = One::Fate::kDead;
  for (const auto& other : hosts_) other->owes = std::max(other->owes, other->cluster->begun());
  it.cluster->perish();
  vanishes ? net_.vanish(host) : net_.end(host, false);
  it.loop->end();
  return true;
}

bool Hosts::join() {
  if (hosts_.size() > 5 || hosts_[0]->cluster->gone()) return false;
  trace(cat("host ", hosts_.size(), " comes"));
  add(1 + static_cast<std::uint32_t>(random_.below(3)), true);
  return true;
}

void Hosts::block(const std::vector<std::pair<HostId, HostId>>& ways, Nanoseconds time) {
  for (const auto& [from, to] : ways) {
    net_.block(from, to);
    blocked_.emplace_back(from, to);
  }
  timeline_.push(time, *this, static_cast<std::uint32_t>(What::kHeal), -1, 0);
}

void Hosts::heal() {
  trace("what was blocked is open again");
  for (const auto& [from, to] : std::exchange(blocked_, {})) {
    if (!net_.vanished(from) && !net_.vanished(to)) net_.open(from, to);
  }
}

bool Hosts::partition(bool patient) {
  if (!blocked_.empty()) return false;
  const std::vector<HostId> all = living();
  const HostId one = pick(all);
  const std::uint64_t dice = random_.below(4);  // 3: all others
  HostId other = pick(all);
  while (other == one) other = pick(all);
  std::vector<std::pair<HostId, HostId>> ways;
  for (const HostId it : all) {
    if (it == one || (dice != 3 && it != other)) continue;
    if (!patient && dice != 3) may_go(it);
    ways.emplace_back(one, it);
    if (dice != 0) ways.emplace_back(it, one);
  }
  if (!patient) dice == 3 ? may_be_alone(one) : may_go(one);
  const Nanoseconds time = time_apart(patient);
  counts_.note(dice == 0   ? "partitions one way"
               : dice == 3 ? "partitions of one and all"
                           : "partitions of two");
  trace(cat("host ", one, " and ", dice == 3 ? "all others" : cat("host ", other),
            dice == 0 ? ", one way," : "", " are apart for ", time / kMillisecond, " ms"));
  block(ways, time);
  return true;
}

bool Hosts::suspend(bool patient) {
  if (!blocked_.empty()) return false;
  const HostId host = pick(living());
  One& it = *hosts_[host];
  const Nanoseconds time = time_apart(patient);
  if (!it.cluster->suspend(time)) return false;
  it.loop->stand_still(timeline_.now() + time + timeline_.upto(kMillisecond));
  trace(cat("host ", host, " stands still for ", time / kMillisecond, " ms"));
  if (!patient) may_be_alone(host);
  std::vector<std::pair<HostId, HostId>> ways;
  for (HostId other = 0; other < hosts_.size(); ++other) {
    if (other == host) continue;
    ways.emplace_back(host, other);
    ways.emplace_back(other, host);
  }
  block(ways, time);
  return true;
}

}  // namespace instep::sim
