#include "loop.h"

#include <algorithm>
#include <utility>

#include "cluster.h"

namespace instep::sim {

void Loop::post(std::function<void()> what) {
  if (over_) return;
  posted_.push_back(std::move(what));
  const Nanoseconds now = timeline_.now();
  posted_at_ = std::max(posted_at_, now + kMicrosecond + timeline_.upto(20 * kMicrosecond));
  timeline_.push(posted_at_ - now, *this, 0, -1, 0);
}

std::uint64_t Loop::after(Nanoseconds time, std::function<void()> what) {
  if (over_) return 0;
  timers_.emplace(++newest_, std::move(what));
  timeline_.push(time, *this, 0, -1, newest_);
  return newest_;
}

void Loop::drain() {
  while (!posted_.empty()) {
    const auto what = std::move(posted_.front());
    posted_.pop_front();
    run(what);
  }
}

void Loop::stand_still(Nanoseconds until) { still_until_ = std::max(still_until_, until); }

void Loop::end() {
  over_ = true;
  posted_.clear();
  timers_.clear();
}

void Loop::run(const std::function<void()>& what) {
  Cluster* const before = std::exchange(running_cluster, cluster_);
  what();
  running_cluster = before;
}

void Loop::happen(const Event& event) {
  if (over_) return;
  if (still()) {
    const Nanoseconds late = timeline_.upto(50 * kMicrosecond);
    return timeline_.push(still_until_ - timeline_.now() + late, *this, 0, -1, event.token);
  }
  std::function<void()> what;
  if (event.token == 0) {
    if (posted_.empty()) return;  // drained
    what = std::move(posted_.front());
    posted_.pop_front();
  } else {
    const auto timer = timers_.find(event.token);
    if (timer == timers_.end()) return;
    what = std::move(timer->second);
    timers_.erase(timer);
  }
  timeline_.note(mix(event.at, event.token));
  run(what);
}

}  // namespace instep::sim
