// One call of decide(): the state under change and the actions found so far. Events change what is
// known (on, hear); settle() then does whatever is due by now, wherever the run stands.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "member/decide.h"

namespace instep::member {

inline constexpr std::uint32_t kMostFailedStarts = 3;  // in a row

class Step {
 public:
  Step(RunState state, Nanoseconds now) : state_(std::move(state)), now_(now) {}

  void on(Heard& event);
  void on(LinkEnded& event);
  void on(Exited& event);
  void on(Prepared& event);
  void on(LauncherFailed& event);
  void on(StopAsked& event);
  void on(ScaleAsked& event);
  void on(Observed& event);
  void on(BookTaken& event);
  void on(JobKnown& event);
  void on(TimePassed& event);
  void on(Adopted& event);
  void settle();
  Decision take() { return {std::move(state_), std::move(actions_)}; }

 private:
  AgentLife& life(AgentId agent) { return state_.agents.at(static_cast<std::size_t>(agent)); }
  AgentId count() const { return static_cast<AgentId>(state_.agents.size()); }
  bool ending() const { return state_.phase == Phase::kEnding || state_.phase == Phase::kOver; }
  bool training() const {
    return state_.phase == Phase::kRunning || state_.phase == Phase::kStopping;
  }
  template <class Test>
  std::vector<AgentId> those(const Test& test) {
    std::vector<AgentId> out;
    for (AgentId agent = 0; agent < count(); ++agent) {
      if (test(agent)) out.push_back(agent);
    }
    return out;
  }
  // Made in place: moving a temporary variant makes the compiler warn of what it never reads.
  template <class T, class... Fields>
  void act(Fields&&... values) {
    actions_.emplace_back(std::in_place_type<T>, T{std::forward<Fields>(values)...});
  }

  // decide.cc: how a run goes on and ends.
  void hear(AgentId, wire::Progress&) {}  // shown by the shell
  void hear(AgentId agent, wire::Done& done);
  void hear(AgentId agent, wire::Failed& failed);
  void hear(AgentId agent, wire::Welcome&) { protocol(agent, "a Welcome, which only it may get"); }
  void hear(AgentId agent, wire::ViewMessage&) { protocol(agent, "a view, which only it may get"); }
  void hear(AgentId agent, wire::StopRequest&) { protocol(agent, "a stop request"); }
  void hear(AgentId agent, wire::Propose&) { protocol(agent, "a plan, which only it may get"); }
  void hear(AgentId agent, wire::Parcel&) { protocol(agent, "what only a launcher may say"); }
  void protocol(AgentId agent, const std::string& what);
  void fail(Outcome outcome);
  void end(Outcome outcome);
  void finish_if_done();
  void tell_to_end(AgentId agent, const std::string& reason);
  void send_stops();
  void kill_all();
  void signal_living(int signal);

  // decide_admit.cc: how agents come as far as Ready.
  void hear(AgentId agent, wire::Hello& hello);
  void hear(AgentId agent, wire::Ready& ready);
  bool agree(AgentId agent, const char* what, const std::string& value, const std::string& expected,
             Reason reason, AgentId other);
  void welcome_those_waiting();
  void publish_first();
  View first_view(const std::vector<AgentId>& agents, std::optional<std::uint64_t> round);
  void restart_if_due();
  void start_agents();
  std::optional<AgentId> free_slot();
  void start(AgentId agent);
  bool can_start() const;
  void start_failed(AgentId agent, Outcome outcome);
  void refuse(AgentId agent, Outcome outcome);
  Owners owners() const;

  // decide_views.cc: how views follow each other.
  void hear(AgentId agent, wire::Promise& promise);
  void damaged(AgentId agent, Outcome outcome);
  bool in_view(AgentId agent) const;
  bool in_before(AgentId agent) const;
  bool is_in(AgentId agent);     // and has come in, as far as we know
  bool comes_in(AgentId agent);  // to a run under way, which goes on without it
  // Comes in with the newest view, and has not yet, as far as we know.
  bool is_outside(AgentId agent);
  // Takes part in rounds, as far as we know: the others wait for it.
  bool takes_part(AgentId agent);
  bool waits_to_join(AgentId agent);
  void publish(View view);
  Op owed_from(const AgentLife& it) const;
  void died(AgentId agent, Outcome outcome);
  void drop(AgentId agent, const Outcome& outcome);
  void judge_departed();
  void take_out(AgentId agent, const Outcome& outcome, Op from);
  std::vector<AgentId> gone_from(const View& view);
  Op no_later(const View& base, Op op);
  void undo_planned();
  void pause(const Outcome& cause);
  std::optional<View> target();
  void plan_if_due();
  void propose(std::uint64_t after, std::uint32_t tries);
  void withdraw();
  void publish_plan(View next);
  bool settled();
  bool below();
  std::vector<AgentId> present();

  // decide_leaving.cc: how many there are.
  void hear(AgentId agent, wire::Leaving& leaving);

  // decide_hosted.cc: a host's part of the shards.
  bool has_shards(const std::vector<std::uint32_t>& shards) const;
  std::uint32_t shards() const;  // of this host
  View assigned(Epoch epoch, Op first_op, const std::vector<AgentId>& agents) const;
  void adopt_if_due();
  std::uint32_t least_members() const;
  bool uneven() const;

  // decide_watch.cc: what agents' words say, and what is told of it.
  void watch();
  std::uint64_t unbegun();  // the first round that nobody can have begun, by their words
  void note_rounds();
  void note_taken();
  void tell_repairs(bool all);
  void tell(const char* kind, AgentId agent, const std::string& reason, const std::string& text);
  void note_death(const View& from, const View& to, const Outcome& outcome);
  static std::string handed_over(const View& from, const View& to, AgentId agent);

  RunState state_;
  Nanoseconds now_;
  std::vector<Action> actions_;
};

// "agent 3" or "agents 0,3": as many as there are.
std::string named(const char* one, const std::vector<AgentId>& numbers);

}  // namespace instep::member
