// Helpers of this folder's tests.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "base/time.h"
#include "member/decide.h"

namespace instep::member {

inline wire::Hello hello(AgentId agent) {
  return {wire::kProtocol, agent, 100 + agent, {{"build", "b"}, {"probe", "p"}}};
}
inline wire::Ready ready() {
  wire::Ready it;
  it.job_json = "{}";
  it.job_hash = "hash";
  it.shards = 8;
  it.blocks = 100;
  it.owners = "all";
  it.first_round = 3;
  it.state_hash = "state";
  return it;
}

// Drives decide() and remembers what it asked for.
class Driver {
 public:
  explicit Driver(std::uint32_t agents, bool needs_view = true) {
    Rules rules;
    rules.agents = agents;
    rules.needs_view = needs_view;
    state = begin(rules);
  }
  explicit Driver(const Rules& rules) { state = begin(rules); }
  void feed(Event event) {
    Decision decision = decide(std::move(state), std::move(event), now);
    state = std::move(decision.state);
    newest = std::move(decision.actions);
    all.insert(all.end(), newest.begin(), newest.end());
  }
  void hear(AgentId agent, wire::Message message) { feed(Heard{agent, std::move(message)}); }
  void pass(Nanoseconds time) {
    now += time;
    feed(TimePassed{});
  }
  AgentId count() const { return static_cast<AgentId>(state.rules.agents); }
  void to_running() {
    feed(Prepared{});
    for (AgentId k = 0; k < count(); ++k) hear(k, hello(k));
    for (AgentId k = 0; k < count(); ++k) hear(k, ready());
    ASSERT_EQ(state.phase, Phase::kRunning);
  }
  template <class T>
  std::vector<T> asked(const std::vector<Action>& among) const {
    std::vector<T> out;
    for (const Action& action : among) {
      if (const T* it = std::get_if<T>(&action)) out.push_back(*it);
    }
    return out;
  }
  template <class T>
  std::vector<T> asked() const {
    return asked<T>(all);
  }
  std::set<AgentId> signalled(int signal) const {
    std::set<AgentId> out;
    for (const Signal& it : asked<Signal>(newest)) {
      if (it.signal == signal) out.insert(it.agent);
    }
    return out;
  }

  RunState state;
  Nanoseconds now = 0;
  std::vector<Action> newest, all;
};

}  // namespace instep::member
