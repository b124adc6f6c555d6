// What a launcher does where hosts train together: as coord/launcher_hosts.cc.
#include <algorithm>

#include "base/text.h"
#include "cluster.h"

namespace instep::sim {

using member::Reason;

namespace {

constexpr Nanoseconds kOthers = 60 * kSecond;

}  // namespace

void Cluster::bridge_has_news() {
  if (!news_at_) news_at_ = now() + 5 * kMicrosecond + upto(50 * kMicrosecond);
  look_again();
}

void Cluster::take_bridge() {
  if (bridge_ == nullptr || !news_at_ || *news_at_ > now()) return;
  news_at_.reset();
  for (BridgeNews& news : bridge_->take()) {
    if (auto* adopt = std::get_if<Adopt>(&news)) {
      tell(member::Observed{observe()});
      tell(member::Adopted{std::move(adopt->shards), adopt->round, adopt->anew});
    } else if (auto* came = std::get_if<StateCame>(&news)) {
      counts.note("states taken");
      trace(-1, cat("comes into the run with round ", came->round));
      book = std::move(came->book);
      book_round_ = came->round;
      tell(member::BookTaken{came->round});
    } else if (std::holds_alternative<DataCame>(news)) {
      tell(member::Prepared{});
    } else if (std::holds_alternative<GaveUp>(news)) {
      if (place_.host == 0) stop_run();
    } else if (std::holds_alternative<AllStop>(news)) {
      if (place_.host != 0) tell(member::StopAsked{"stop", false, false});
    } else if (auto* orphaned = std::get_if<Orphaned>(&news)) {
      counts.note("orphaned");
      trace(-1, cat("is orphaned: ", orphaned->why));
      orphaned_ = orphaned->why;
      tell(member::StopAsked{"the coordinator is gone", false, false});
    } else if (auto* failed = std::get_if<BridgeFailed>(&news)) {
      trace(-1, cat("its bridge fails: ", failed->error.message));
      if (outcome_) {
        all_done_ = true;
      } else {
        tell(member::LauncherFailed{failed->error});
      }
    } else {
      all_done_ = true;
      if (!client_.standing().viewed) tell(member::StopAsked{"the run is over", false, false});
    }
  }
}

void Cluster::wait_for_others() {
  if (bridge_ == nullptr || gone_) return;
  const bool well = outcome_->reason == Reason::kFinished || outcome_->reason == Reason::kStopped;
  if (!well || !orphaned_.empty() || left_) return end_host();
  if (!others_until_) {
    others_until_ = now() + kOthers;
    bridge_->done();
  }
  take_bridge();
  if (all_done_) return end_host();
  if (now() >= *others_until_) {
    throw Violation(cat("host ", place_.host, " waits for the end of others for a minute"));
  }
  look_again();
}

void Cluster::end_host() {
  gone_ = true;
  trace(-1, cat("ends: ", member::describe(*outcome_)));
  counts.note(cat("host ended: ", member::describe(*outcome_)));
  place_.ends();
}

void Cluster::stop_run() {
  tell(member::StopAsked{"stop", true, false});
  bridge_->stop();
  look_again();
}

bool Cluster::leave() {
  if (place_.host == 0 || !present() || outcome_ || std::exchange(left_, true)) return false;
  bridge_->leave();
  tell(member::StopAsked{"leave", true, false});
  tell(member::StopAsked{"leave", true, false});
  look_again();
  return true;
}

bool Cluster::suspend(Nanoseconds time) {
  for (const Slot& it : slots_) {
    if (lives(it) && it.stops > 0) return false;
  }
  for (AgentId agent = 0; agent < count(); ++agent) stop(agent, time, false);
  stalled_until_ = std::max(stalled_until_, now() + time + upto(60 * kMicrosecond));
  desk_.stalled_until = std::max(desk_.stalled_until, now() + time + upto(60 * kMicrosecond));
  return true;
}

}  // namespace instep::sim
