// The thread of a launcher that speaks to other hosts, as fabric::Loop: what is posted is done in
// order, and timers when they are due; it may stand still, or end with its process.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "timeline.h"

namespace instep::sim {

class Cluster;

class Loop final : private Actor {
 public:
  // What it runs is the cluster's, if there is one, for production code that touches its words.
  Loop(Timeline& timeline, Cluster* cluster) : timeline_(timeline), cluster_(cluster) {}
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Timeline& timeline() { return timeline_; }
  void post(std::function<void()> what);
  // A timer's number.
  std::uint64_t after(Nanoseconds time, std::function<void()> what);
  void cancel(std::uint64_t timer) { timers_.erase(timer); }
  // Does at once what was posted so far.
  void drain();
  void stand_still(Nanoseconds until);
  bool still() const { return timeline_.now() < still_until_; }
  void end();
  bool over() const { return over_; }

 private:
  void happen(const Event& event) override;
  void run(const std::function<void()>& what);

  Timeline& timeline_;
  Cluster* const cluster_;
  std::deque<std::function<void()>> posted_;
  std::map<std::uint64_t, std::function<void()>> timers_;
  std::uint64_t newest_ = 0;  // timer; 0 is none
  Nanoseconds posted_at_ = 0;
  Nanoseconds still_until_ = 0;
  bool over_ = false;
};

}  // namespace instep::sim
