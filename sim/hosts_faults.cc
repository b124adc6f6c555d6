// What goes wrong between hosts, and when: all of it follows from the seed.
#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "hosts.h"

namespace instep::sim {

const char* name_of(HostFault fault) {
  static constexpr const char* kNames[] = {"break a link", "break two links", "partition",
                                           "bridge stands still", "suspend a host"};
  return kNames[static_cast<int>(fault)];
}

void Hosts::plan_faults() {
  const std::uint64_t many = 1 + random_.below(5);
  for (std::uint64_t i = 0; i < many; ++i) {
    const auto fault =
        static_cast<HostFault>(random_.below(static_cast<int>(HostFault::kLast) + 1));
    // Some as hosts end.
    const std::uint64_t round =
        random_.below(8) == 0 ? job_.rounds - 1 : random_.below(job_.rounds);
    faults_.push_back({round, fault});
  }
  std::sort(faults_.begin(), faults_.end(),
            [](const Planned& a, const Planned& b) { return a.round < b.round; });
}

void Hosts::round_begun(std::uint64_t round) {
  if (round + 1 <= begun_) return;
  begun_ = round + 1;
  if (fault_due_ || next_fault_ >= faults_.size() || faults_[next_fault_].round > round) return;
  fault_due_ = true;
  const Nanoseconds after = timeline_.upto(3 * kMillisecond);
  timeline_.push(after, *this, static_cast<std::uint32_t>(What::kFault), -1, 0);
}

void Hosts::happen(const Event& event) {
  timeline_.note(mix(event.at, event.what));
  event.what == static_cast<std::uint32_t>(What::kFault) ? inject() : heal();
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
  if (all.size() < 2 || !hub_->state().gone_on) return false;
  const HostId one = pick(all);
  HostId other = pick(all);
  while (other == one) other = pick(all);
  switch (fault) {
    case HostFault::kBreakLink:
      return net_.break_link(one, other);
    case HostFault::kBreakTwo: {
      const bool first = net_.break_link(one, other);
      return net_.break_link(pick(all), one) || first;
    }
    case HostFault::kPartition:
      return partition();
    case HostFault::kStand:
      hosts_[one]->loop->stand_still(
          timeline_.now() + timeline_.upto(random_.below(2) == 0 ? 5 * kMillisecond : 2 * kSecond));
      return true;
    case HostFault::kSuspend:
      return suspend();
  }
  return false;
}

// Shorter than anybody's patience.
Nanoseconds Hosts::time_of_partition() {
  return timeline_.upto(random_.below(2) == 0 ? 50 * kMillisecond : 8 * kSecond);
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
  for (const auto& [from, to] : std::exchange(blocked_, {})) net_.open(from, to);
}

bool Hosts::partition() {
  if (!blocked_.empty()) return false;
  const std::vector<HostId> all = living();
  const HostId one = pick(all);
  const std::uint64_t dice = random_.below(4);  // 3: all others
  HostId other = pick(all);
  while (other == one) other = pick(all);
  std::vector<std::pair<HostId, HostId>> ways;
  for (const HostId it : all) {
    if (it == one || (dice != 3 && it != other)) continue;
    ways.emplace_back(one, it);
    if (dice != 0) ways.emplace_back(it, one);
  }
  const Nanoseconds time = time_of_partition();
  counts_.note(dice == 0   ? "partitions one way"
               : dice == 3 ? "partitions of one and all"
                           : "partitions of two");
  trace(cat("host ", one, " and ", dice == 3 ? "all others" : cat("host ", other),
            dice == 0 ? ", one way," : "", " are apart for ", time / kMillisecond, " ms"));
  block(ways, time);
  return true;
}

bool Hosts::suspend() {
  if (!blocked_.empty()) return false;
  const HostId host = pick(living());
  One& it = *hosts_[host];
  const Nanoseconds time = time_of_partition();
  if (!it.cluster->suspend(time)) return false;
  it.loop->stand_still(timeline_.now() + time + timeline_.upto(kMillisecond));
  trace(cat("host ", host, " stands still for ", time / kMillisecond, " ms"));
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
