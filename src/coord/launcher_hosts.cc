// What a launcher does where hosts train together.
#include <poll.h>

#include <utility>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "coord/launcher_impl.h"
#include "coord/remote.h"

namespace instep::coord {
namespace {

using member::Reason;

// For other hosts to end after the first one has.
constexpr std::int64_t kOthersNs = 60 * kSecond;

}  // namespace

void Launcher::take_bridge() {
  if (plan_.bridge == nullptr) return;
  for (BridgeNews& news : plan_.bridge->take()) {
    if (auto* adopt = std::get_if<Adopt>(&news)) {
      trained_by_ = {adopt->hosts, adopt->agents};
      go_on();
      tell(member::Observed{crew_->observe()});
      tell(member::Adopted{std::move(adopt->shards), adopt->round, adopt->anew});
    } else if (auto* data = std::get_if<DataCame>(&news)) {
      if (data->image.valid()) dataset_ = std::move(data->image);
      tell(member::Prepared{});
    } else if (const auto* came = std::get_if<StateCame>(&news)) {
      if (const Status kept = crew_->keep_book(came->book, came->round); !kept.ok()) {
        tell(member::LauncherFailed{kept.error()});
      } else {
        tell(member::BookTaken{came->round});
        narrator_.tell({"hosts", -1, came->round, "", 0,
                        cat("this host comes into the run with round ", came->round)});
      }
    } else if (std::holds_alternative<AllStop>(news)) {
      if (!first_host()) stop("stop", false, false);
    } else if (auto* orphaned = std::get_if<Orphaned>(&news)) {
      orphaned_ = orphaned->why;
      narrator_.tell({"orphaned", -1, round(), orphaned->why, 0,
                      cat("the coordinator is gone (", orphaned->why,
                          "): this host finishes the round, saves and ends")});
      stop("the coordinator is gone", false, false);
    } else if (auto* failed = std::get_if<BridgeFailed>(&news)) {
      // A host that has all it came for does not wait for others that go on without it.
      if (outcome_) {
        all_done_ = true;
      } else {
        tell(member::LauncherFailed{failed->error});
      }
    } else if (auto* note = std::get_if<BridgeNote>(&news)) {
      narrator_.tell({"hosts", -1, round(), "", 0, note->text});
    } else if (const auto* missing = std::get_if<HostsAreMissing>(&news)) {
      hosts_are_missing(*missing);
    } else if (auto* up = std::get_if<GaveUp>(&news)) {
      gave_up_ = std::move(up->why);
      narrator_.go_on();
      if (first_host()) stop("too few agents", false, false);
    } else if (const auto* seen = std::get_if<LinesSeen>(&news)) {
      narrator_.lines(*seen);
    } else if (auto* host = std::get_if<HostCame>(&news)) {
      if (plan_.remote != nullptr) plan_.remote->joined(host->name, host->host);
      narrator_.tell({"hosts", -1, round(), "", 0,
                      cat("host ", host->name, " has joined with ", host->agents,
                          host->agents == 1 ? " agent" : " agents")});
    } else if (const auto* went = std::get_if<HostWent>(&news)) {
      if (plan_.remote != nullptr && !stopping_) plan_.remote->lost(went->host);
    } else if (const auto* wanted = std::get_if<StopWanted>(&news)) {
      if (plan_.stops_together) {
        stop(cat("host ", wanted->name, " was asked to stop"), false, false);
      }
    } else {
      all_done_ = true;
      if (!standing().viewed) stop("the run is over", false, false);
    }
  }
  if (plan_.remote == nullptr) return;
  const Remote::News news = plan_.remote->look();
  for (const std::string& note : news.notes) narrator_.tell({"hosts", -1, round(), "", 0, note});
  if (news.failure) tell(member::LauncherFailed{*news.failure});
}

void Launcher::hosts_are_missing(const HostsAreMissing& news) {
  constexpr std::uint64_t kMsPerS = 1000;
  narrator_.wait({"waiting", -1, round(), "", 0,
                  cat(news.agents, " of at least ", news.least, " agents are there: the run waits ",
                      (news.limit_ms + kMsPerS - 1) / kMsPerS, " s for hosts to join")},
                 plan_.how_to_join ? plan_.how_to_join() : std::string());
}

void Launcher::go_on() {
  if (!narrator_.go_on()) return;
  const auto [hosts, agents] = trained_by_;
  narrator_.tell({"hosts", -1, round(), "", 0,
                  cat("the run goes on with ", agents, agents == 1 ? " agent on " : " agents on ",
                      hosts, hosts == 1 ? " host" : " hosts")});
}

// A run ends on all hosts together: others may be saving still.
void Launcher::wait_for_others() {
  const bool well = outcome_->reason == Reason::kFinished || outcome_->reason == Reason::kStopped;
  if (!well || !orphaned_.empty() || left_) return;
  plan_.bridge->done();
  const std::int64_t until = monotonic_ns() + kOthersNs;
  while (!all_done_ && monotonic_ns() < until) {
    pollfd polled{plan_.bridge->descriptor(), POLLIN, 0};
    ::poll(&polled, 1, 100);
    take_bridge();
    if (signals_.next()) return;
  }
}

// A host that is told to end leaves the others, who go on with this round: nothing of it is needed
// here any more. Once.
bool Launcher::leave_host() {
  if (first_host() || !standing().viewed || std::exchange(left_, true)) return false;
  plan_.bridge->leave();
  stop("leave", true, false);
  stop("leave", true, false);
  return true;
}

void Launcher::end_on_this_host(LaunchResult& out) const {
  if (!orphaned_.empty()) {
    out.exit_code = 1;
    out.message = cat("the coordinator is gone: ", orphaned_);
  }
  if (!gave_up_.empty() && out.outcome.reason == Reason::kStopped) {
    out.exit_code = 1;
    out.message = gave_up_;
  }
  if (left_ && out.outcome.reason == Reason::kAbandoned) {
    out.exit_code = 0;
    out.message = "this host has left the run, which goes on without it";
  } else if (all_done_ && out.outcome.reason == Reason::kAbandoned) {
    out.exit_code = 0;
    out.message = "the run was over before this host came in";
  }
}

}  // namespace instep::coord
