#include "member/client.h"

#include <algorithm>
#include <utility>

namespace instep::member {

Open Client::open(const Rules& rules) {
  Open out;
  out.again = answered_;
  out.rules = rules;
  out.generation = out.again ? standing_.generation : 0;
  out.heard = heard_;
  asking_ = false;
  return out;
}

const Told& Client::tell(Event event) {
  untold_.push_back({++told_, heard_, std::move(event)});
  return untold_.back();
}

Told Client::ask(Event event) {
  asking_ = true;
  return {0, heard_, std::move(event)};
}

bool Client::hear(const Reply& reply, Nanoseconds now) {
  asking_ = false;
  answered_ = true;
  known_ = std::max(known_, reply.known);
  while (!untold_.empty() && untold_.front().number <= known_) untold_.pop_front();
  if (reply.number != 0 && reply.number <= heard_) return false;
  if (reply.number != 0) heard_ = reply.number;
  const auto at = [now](const std::optional<Nanoseconds>& in) {
    return in ? std::optional(now + *in) : std::nullopt;
  };
  standing_ = reply.standing;
  observe_at_ = at(standing_.observe_in);
  due_at_ = at(standing_.due_in);
  return true;
}

}  // namespace instep::member
