// Runs turns to their end, waiting on words and for news.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "fabric/host_memory.h"
#include "round/turn.h"

namespace instep::round {

class Runner {
 public:
  Runner(fabric::AgentWords& words, Seat& seat) : words_(words), seat_(seat) {}

  // Until it is done, left, to be done with others, or has failed; or until `enough`, which is
  // asked after each other step and while it waits.
  using Enough = std::function<bool(Turn::Step step)>;
  Result<Turn::Step> run(Turn& turn, const Enough& enough = {});

  std::uint32_t spins = 4000;
  // Blocks for news of the seat, or for a while; an Error when there will be none.
  std::function<Status()> wait_for_news;
  double waited_seconds = 0;
  // The word on which the thread sleeps, for another that has news for it.
  std::atomic<const std::atomic<fabric::Ticket>*> asleep_on = nullptr;

 private:
  fabric::AgentWords& words_;
  Seat& seat_;
};

}  // namespace instep::round
