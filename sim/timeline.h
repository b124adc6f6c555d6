// Virtual time: all that is to happen, in an order that follows from the seed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "member/events.h"

namespace instep::sim {

using member::AgentId;
using member::Nanoseconds;
inline constexpr Nanoseconds kMicrosecond = 1'000;

class Actor;

struct Event {
  Nanoseconds at = 0;
  std::uint64_t order = 0;
  Actor* actor = nullptr;
  std::uint32_t what = 0;  // the actor's own numbers
  AgentId agent = -1;
  std::uint64_t token = 0;
  bool operator>(const Event& other) const {
    return at != other.at ? at > other.at : order > other.order;
  }
};

// To whom something happens. It outlives the events that are for it.
class Actor {
 public:
  virtual ~Actor() = default;
  virtual void happen(const Event& event) = 0;
};

class Timeline {
 public:
  explicit Timeline(Random& random) : random_(random) {}

  Nanoseconds now() const { return now_; }
  std::uint64_t events() const { return events_; }
  // Of everything that happened.
  std::uint64_t hash() const { return hash_; }
  void note(std::uint64_t word) { hash_ = mix(hash_, word); }
  Nanoseconds upto(Nanoseconds time) {
    return static_cast<Nanoseconds>(random_.below(static_cast<std::uint64_t>(time) + 1));
  }

  void push(Nanoseconds after, Actor& actor, std::uint32_t what, AgentId agent,
            std::uint64_t token) {
    queue_.push({now_ + after, ++order_, &actor, what, agent, token});
  }
  // The next event; false: there is none.
  bool step() {
    if (queue_.empty()) return false;
    const Event event = queue_.top();
    queue_.pop();
    now_ = event.at;
    ++events_;
    event.actor->happen(event);
    return true;
  }

 private:
  Random& random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> queue_;
  Nanoseconds now_ = 0;
  std::uint64_t order_ = 0, hash_ = 0, events_ = 0;
};

}  // namespace instep::sim
