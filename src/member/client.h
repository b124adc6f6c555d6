// The launcher's side of member/parcels.h, without its socket: what it has told and not seen
// recorded, what it has heard, and when it is asked to look again. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "member/parcels.h"

namespace instep::member {

class Client {
 public:
  // What the next coordinator hears first; untold() follows.
  Open open(const Rules& rules);
  const std::deque<Told>& untold() const { return untold_; }

  // Tells the event for certain.
  const Told& tell(Event event);
  // Tells what may be lost, since the next one of its kind says it better.
  Told ask(Event event);
  // False: all of it is known already.
  bool hear(const Reply& reply, Nanoseconds now);

  const Standing& standing() const { return standing_; }
  std::uint64_t told() const { return told_; }    // number of the newest event
  std::uint64_t known() const { return known_; }  // of the newest that is recorded
  std::uint64_t heard() const { return heard_; }  // of the newest reply
  // When Observed and TimePassed are due; not while one is under way.
  std::optional<Nanoseconds> observe_at() const { return asking_ ? std::nullopt : observe_at_; }
  std::optional<Nanoseconds> due_at() const { return asking_ ? std::nullopt : due_at_; }

 private:
  std::uint64_t told_ = 0, known_ = 0, heard_ = 0;
  std::deque<Told> untold_;  // numbers above known_
  bool answered_ = false, asking_ = false;
  Standing standing_;
  std::optional<Nanoseconds> observe_at_, due_at_;
};

}  // namespace instep::member
