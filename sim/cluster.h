// A host with its launcher, coordinator and agents and what goes wrong, on virtual time. The
// launcher is member::Client in a shell as coord::Launcher and Crew are, the coordinator
// member::Coordinator and its journal; every event is drawn from one queue in an order that follows
// from the seed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bridge.h"
#include "host.h"
#include "member/client.h"
#include "member/coordinator.h"
#include "process.h"
#include "simulate.h"

namespace instep::sim {

enum class Fault {
  kKill,        // one member
  kKillTwo,     // at once
  kKillAll,     // a pause
  kKillTorn,    // in the midst of an update's stores
  kKillPoint,   // at a named failpoint
  kKillJoiner,  // while it starts or takes the state over
  kStop,        // for less than the patience
  kStopTorn,
  kHang,     // for longer
  kSuspend,  // all at once, the coordinator too
  kStall,    // the launcher alone
  kLeave,
  kScale,
  kKillCoordinator,   // its process; the launcher starts another
  kStallCoordinator,  // its process alone
  kSplit,             // between launcher and coordinator
  kLast = kSplit
};
const char* name_of(Fault fault);

// Of a host among several.
struct Place {
  HostId host = 0;
  std::uint32_t agents = 1;
  bool late = false;                          // it comes to a run under way
  std::uint64_t faults = 0;                   // of its own
  std::function<void()> ends;                 // its launcher does
  std::function<void(std::uint64_t)> begins;  // somebody here a round, as the first one
};

class Cluster final : public Host, private Actor {
 public:
  Cluster(const Options& options, const Job& job, Memory& memory, Oracle& oracle,
          Timeline& timeline, Random& random, Counts& counts, const Place* place = nullptr);

  // A run of this host alone.
  Report run();

  // Of one among several: before it begins; that the bridge has news.
  void use(Bridge& bridge) { bridge_ = &bridge; }
  void bridge_has_news();
  // It loses its power.
  void perish() { gone_ = true; }
  // All its processes stand still.
  bool suspend(Nanoseconds time);
  // SIGTERM to the launcher; false: not now.
  bool leave();
  void stop_run();
  // Nothing is done in it until then, and that is right.
  void stands_still(Nanoseconds until) { progress_at_ = std::max(progress_at_, until); }
  HostId host() const { return place_.host; }
  bool gone() const { return gone_; }
  bool present() const { return !gone_ && client_.standing().viewed; }
  std::uint64_t begun() const { return begun_; }  // rounds
  std::uint64_t done() const { return done_; }
  std::uint64_t injected() const { return injected_; }
  const std::optional<member::Outcome>& outcome() const { return outcome_; }
  const std::string& orphaned() const { return orphaned_; }
  bool left() const { return left_; }
  // Broken invariants: that it makes no progress; and of how it ended.
  void check_progress(Nanoseconds limit) const;
  void check_state_at_end() const;

  // Of a process.
  void send(AgentId from, wire::Message message) override;
  void round_begun(AgentId agent, std::uint64_t round) override;
  void round_done(AgentId agent, std::uint64_t round) override;
  bool left_out(AgentId agent) override;
  void trace(AgentId agent, const std::string& what) override;
  // Of the production code that it runs (instead.cc).
  int passes(std::string_view failpoint);
  void wakes(const void* word);

 private:
  enum class What : std::uint32_t {
    kStep,       // of an agent; its token is the newest, that of what follows the life's
    kDeliver,    // the next message to an agent
    kLook,       // the launcher's turn
    kDesk,       // the coordinator hears the next of what is told
    kDeskStart,  // another coordinator begins
    kDie,        // a kill takes effect
    kProof,      // of a death
    kContinue,   // of a stopped one
    kFault,
    kEnding,     // of the run, before its time
    kTerminate,  // SIGTERM arrives
    kUndo        // of a planted bug
  };
  // A slot and its newest process.
  struct Slot {
    std::unique_ptr<Process> process;
    std::uint64_t life = 0;   // processes so far
    std::uint64_t token = 0;  // of its newest step
    const void* asleep_on = nullptr;
    bool asleep_for_news = false;
    bool doomed = false, dead = false, proved = false, link_ended = false, told_end = true;
    bool reaped = true;
    int signal = 0, code = 0;  // how it died; signal 0: by itself
    int stops = 0;             // SIGSTOPs not yet followed by a SIGCONT
    bool missed_step = false, woken = false;
    std::optional<Nanoseconds> still_since;  // it was stopped then
    Nanoseconds still = 0;                   // alone, since its last step
    std::deque<wire::Message> in;            // to it, in order
    Nanoseconds in_at = 0;                   // when the last of them arrives
    std::deque<std::pair<Nanoseconds, wire::Message>> out;
    Nanoseconds out_at = 0;
    // Faults that wait for their moment.
    bool die_torn = false, stop_torn = false, tear_now = false;
    std::optional<std::uint64_t> die_at_point;
    std::string_view die_where;  // a failpoint's name
  };

  // cluster.cc: time, and what becomes of the run.
  void push(Nanoseconds after, What what, AgentId agent, std::uint64_t token);
  void happen(const Event& event) override;
  void check_end();

  // agents.cc: processes and their links.
  void step(AgentId agent);
  void schedule(AgentId agent, Nanoseconds after);
  void deliver(AgentId agent);
  void start(AgentId agent);
  void kill(AgentId agent, Nanoseconds after, int signal);
  void die(AgentId agent);
  void stop(AgentId agent, Nanoseconds time, bool alone = true);
  void go_on(AgentId agent);
  void post(AgentId agent, wire::Message message);
  bool lives(const Slot& slot) const { return slot.process && !slot.dead; }
  void note(std::uint64_t word) { timeline_.note(word); }
  Nanoseconds upto(Nanoseconds time) { return timeline_.upto(time); }
  Nanoseconds now() const { return timeline_.now(); }
  Slot& slot(AgentId agent) { return slots_[static_cast<std::size_t>(agent)]; }
  AgentId count() const { return static_cast<AgentId>(slots_.size()); }
  std::uint64_t tear(AgentId agent, std::uint64_t elements);

  // The coordinator's process. What is told and what is replied arrive in order.
  struct Desk {
    std::optional<member::Coordinator> alive;
    std::optional<member::Record> before, newest;  // the journal's newest entries
    std::vector<std::byte> torn;                   // what a death left behind them
    bool up = false;
    std::uint64_t life = 0;
    std::deque<std::variant<member::Open, member::Told>> in;
    std::deque<std::pair<Nanoseconds, member::Reply>> out;
    Nanoseconds in_at = 0, out_at = 0;
    Nanoseconds stalled_until = 0;
    std::optional<std::uint64_t> die_at;  // so many places on
  };

  // launcher_hosts.cc: of one among several.
  void take_bridge();
  void wait_for_others();
  void end_host();

  // launcher.cc: the shell around the client.
  void look();
  void look_again();
  member::Words words_of(AgentId agent);
  std::vector<member::Words> observe();
  void tell(member::Event event) { send_to_desk(client_.tell(std::move(event))); }
  void ask(member::Event event) { send_to_desk(client_.ask(std::move(event))); }
  void act(const member::Action& action);

  // coordinator.cc: the shell around the coordinator.
  const member::RunState& state() const {
    static const member::RunState kNone;
    return desk_.alive ? desk_.alive->record().state : desk_.newest ? desk_.newest->state : kNone;
  }
  void send_to_desk(std::variant<member::Open, member::Told> what);
  void hear_at_desk();
  void serve(const member::Open& open);
  void serve(member::Told told);
  void reply(const member::Reply& it);
  // Whether the coordinator dies here.
  bool dies_at(const char* place);
  void kill_desk(const char* place);
  void start_desk();
  void write_journal();
  void plant_in(member::View& view);
  void check_eviction(AgentId agent);
  void publish(const member::Publish& action);
  void take_book();
  void undo(AgentId agent);

  // faults.cc: what goes wrong, and when.
  void plan_faults();
  void inject();
  void end();
  bool inject(Fault fault);
  bool calm() const;
  std::vector<AgentId> members();
  AgentId pick(const std::vector<AgentId>& from);

  const Options options_;
  std::vector<Slot> slots_;
  member::Rules rules_;
  Timeline& timeline_;
  AgentId running_ = -1;  // whose step is under way

  Desk desk_;

  // The launcher.
  member::Client client_;
  std::optional<member::Outcome> outcome_;
  std::optional<member::View> published_;  // the newest
  std::optional<Nanoseconds> look_at_;
  Nanoseconds stalled_until_ = 0;
  std::optional<std::uint64_t> book_round_;

  // Of one among several.
  const Place place_;
  Bridge* bridge_ = nullptr;
  std::optional<Nanoseconds> news_at_;       // of the bridge, is heard
  std::optional<Nanoseconds> others_until_;  // they are waited for
  std::string orphaned_;
  bool all_done_ = false, left_ = false, gone_ = false;

  // Progress.
  std::uint64_t begun_ = 0, done_ = 0;  // newest rounds: begun by somebody, done by somebody
  Nanoseconds progress_at_ = 0;
  std::uint64_t kills_ = 0;      // since some rounds were done
  std::uint64_t killed_in_ = 0;  // the newest round with a death

  struct Planned {
    std::uint64_t round = 0;
    Fault fault = Fault::kKill;
  };
  std::vector<Planned> faults_;  // in order
  std::size_t next_fault_ = 0;
  bool fault_due_ = false;
  std::uint64_t injected_ = 0;
  std::uint64_t tries_ = 0;  // of the fault that is due
  enum class Ending { kNone, kStop, kEarlyStop, kAbandon, kFailure };
  Ending ending_ = Ending::kNone;
  std::optional<std::uint64_t> end_at_;  // the round of it
  std::vector<double> slowness_;
};

// The one whose production code runs now.
extern thread_local Cluster* running_cluster;

}  // namespace instep::sim
