// Whom a run loses when links between hosts stay broken.
//
// One of the two ends of such a link has to go, and it must not be a healthy one for the sake of
// one that is lost but not known to be: a link may be missing for the limit when a host falls
// silent, which takes longer to be sure of. So all hosts are asked, and nobody goes before all have
// answered. Who is gone does not answer: it is lost when its time has come, or says that its links
// are new, and either of that begins a line-up and a limit anew.
#include <map>
#include <set>
#include <utility>

#include "member/hosts_step.h"

namespace instep::member {
namespace {

constexpr Nanoseconds kOwnGap = 1'000'000'000;
constexpr const char* kUnreached = "it and other hosts do not reach each other";

// Ends of links that are missing, by host. One end is enough to say so: the other one may hold a
// link that never got through.
using Missing = std::map<HostId, std::set<HostId>>;

// Who lacks the first one, which never goes, goes anyway; else the one whose loss leaves the fewest
// links missing, the newest of several.
HostId worst_of(const Missing& missing) {
  HostId worst = kFirstHost;
  std::pair<bool, std::size_t> most = {false, 0};
  for (const auto& [host, peers] : missing) {
    const std::pair<bool, std::size_t> bad = {peers.contains(kFirstHost), peers.size()};
    if (host == kFirstHost || bad < most) continue;
    worst = host;
    most = bad;
  }
  return worst;
}

// Those without whom all reach each other.
std::vector<HostId> without_links(Missing missing) {
  std::vector<HostId> out;
  while (!missing.empty()) {
    const HostId worst = worst_of(missing);
    out.push_back(worst);
    missing.erase(worst);
    for (auto& [host, peers] : missing) peers.erase(worst);
    std::erase_if(missing, [](const auto& it) { return it.second.empty(); });
  }
  return out;
}

}  // namespace

void HostsStep::on(HostLacks& event) {
  HostLife* it = find(event.host);
  if (it == nullptr || state_.phase != HostsPhase::kTelling || !state_.asked) return;
  if (event.number == state_.number) it->lacks = std::move(event.peers);
}

void HostsStep::part_those_apart() {
  if (state_.phase != HostsPhase::kTelling || !state_.told_at) return;
  if (!state_.asked) return ask_links();
  if (!all([](const HostLife& it) { return it.lacks.has_value(); })) return;
  Missing missing;
  for (const auto& [host, it] : state_.hosts) {
    for (const HostId peer : *it.lacks) {
      if (peer == host || find(peer) == nullptr) continue;
      missing[host].insert(peer);
      missing[peer].insert(host);
    }
  }
  state_.asked = false;
  state_.told_at = now_;
  for (const HostId host : without_links(std::move(missing))) {
    if (state_.phase == HostsPhase::kOver) return;
    remove(host, kUnreached, false);
    // The hub still reaches it, so it would wait for the others for ever.
    refuse(host, cat("the run goes on without this host: ", kUnreached));
  }
}

void HostsStep::ask_links() {
  const Nanoseconds late = now_ - *state_.told_at - state_.rules.link_limit;
  if (late < 0 || all([](const HostLife& it) { return it.took; })) return;
  // Whoever looks that late stood still meanwhile, and cannot say that others did (design, rule
  // 11).
  if (late > kOwnGap) return void(state_.told_at = now_);
  state_.asked = true;
  for (auto& [host, it] : state_.hosts) it.lacks.reset();
  act<AskLinks>(state_.number, everybody());
}

}  // namespace instep::member
