// What decide_hosts() is made of: hosts.cc has the run, hosts_admit.cc how hosts come into it,
// hosts_apart.cc whom it loses when links stay broken, hosts_wait.cc how it waits for others when
// too few are left, hosts_lines.cc how slices go by their lines.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "member/hosts.h"

namespace instep::member {

// "1 agent", "2 agents".
inline std::string counted(std::uint64_t count, const char* what) {
  return cat(count, " ", what, count == 1 ? "" : "s");
}

// hosts_wait.cc: whether those that are left may go on.
bool enough_are_left(const HostsState& state);
// All have been halted, and may not.
bool too_few(const HostsState& state);

// One call of decide_hosts(), as Step is one of decide().
class HostsStep {
 public:
  HostsStep(HostsState state, Nanoseconds now) : state_(std::move(state)), now_(now) {}

  void on(HostJoined& event);
  void on(HostIsReady& event);
  void on(const HostStands& event);
  void on(const HostTook& event);
  void on(const HostLost& event);
  void on(const HostLeaves& event);
  void on(const HostDone& event);
  void on(const HostBroken& event);
  void on(HostLacks& event);
  void on(HostMeasured& event);
  void on(const RunStops&) { state_.stopping = true; }
  void on(const TimePassed&) {}
  void settle();
  HostsDecision take() { return {std::move(state_), std::move(actions_)}; }

 private:
  HostLife* find(HostId host) {
    const auto found = state_.hosts.find(host);
    return found == state_.hosts.end() ? nullptr : &found->second;
  }
  template <class Test>
  bool all(const Test& test) const {
    return std::all_of(state_.hosts.begin(), state_.hosts.end(),
                       [&](const auto& it) { return test(it.second); });
  }
  template <class T, class... Fields>
  void act(Fields&&... values) {
    actions_.emplace_back(std::in_place_type<T>, T{std::forward<Fields>(values)...});
  }
  void tell(const char* kind, const std::string& reason, const std::string& text) {
    act<Tell>(kind, AgentId{-1}, state_.lineup ? state_.lineup->first_round : std::uint64_t{0},
              reason, 0.0, text);
  }
  // hosts.cc
  std::uint64_t agents() const;
  std::vector<HostId> everybody() const;
  bool over() const;
  void end(std::optional<Error> error);
  void remove(HostId host, const std::string& why, bool leaves);
  void halt(std::optional<HostId> lost);
  void tell_anew();
  void next_lineup();
  void name_newcomers(Lineup& lineup, HostId holder) const;
  Lineup with_those_there(std::uint64_t first_round);
  std::vector<HostWeight> weights() const;
  void tell_lineup(Lineup lineup);
  // hosts_admit.cc
  void refuse(HostId host, const std::string& why);
  std::optional<Error> disagreement(const std::string& name, const HostFacts& facts, bool late);
  void gather();
  void tell_of_each_other();
  void first_lineup();
  void come_late(HostLife it);
  void admit_late();
  // hosts_apart.cc
  void part_those_apart();
  void ask_links();
  // hosts_wait.cc
  void wait_for_hosts();
  void give_up();
  Error too_few_left() const;
  // hosts_lines.cc
  void weigh();
  void forget_lines();
  void rest();
  void spread_evenly(const Judgement& even);

  HostsState state_;
  Nanoseconds now_;
  std::vector<HostsAction> actions_;
};

}  // namespace instep::member
