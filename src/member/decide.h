// The life of a run as a pure function: what has happened so far, one event and the time go in; the
// new state and what the shell must do come out. No sockets, no clocks.
//
//   kAdmitting  agents start, say Hello, are welcomed once the launcher has prepared the data, and
//               say Ready; the last Ready publishes the first view, on a host among several
//               when it is told which shards are its own
//   kRunning    rounds go on without us; agents die, hang, leave and join, and views follow. With
//               nobody left that holds the state the run pauses until new agents have taken it over
//               from a book. Left when all are done, or when a stop is asked for
//   kStopping   everybody was asked to finish the round, save and be done; nobody joins any more
//   kLeaving    all are done; their processes end
//   kEnding     something failed, or nothing worth saving exists yet: agents are told, then
//               terminated, then killed
//   kOver       no process is left
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "member/events.h"
#include "member/outcome.h"
#include "member/view.h"
#include "wire/message.h"

namespace instep::member {

struct Rules {
  std::uint32_t agents = 1;      // wanted
  std::uint32_t min_agents = 1;  // fewer than that wait
  std::uint32_t slots = 0;       // 0: as many as agents
  bool needs_view = true;        // false: an agent may be done without one (it predicts)
  bool elastic = true;           // agents may be started while the run goes on
  bool replace = true;           // one is started for each that is lost
  bool restore = true;           // what memory has lost comes back from the last checkpoint
  bool hosted = false;           // a host among several: Adopted says which shards are its own
  bool late = false;  // such a host that came when the others trained: its state is taken
  Nanoseconds patience_floor = 250'000'000;
  Nanoseconds patience_ceiling = 60'000'000'000;
  Nanoseconds exit_grace = 500'000'000;       // from a link's end to the news of its process's end
  Nanoseconds terminate_after = 300'000'000;  // from telling agents of a failure to SIGTERM
  Nanoseconds kill_after = 1'500'000'000;     // from there to SIGKILL
  Nanoseconds start_limit = 300'000'000'000;  // of an agent started later, until it is Ready
  Nanoseconds end_limit = 10'000'000'000;     // for one agent that is told to end by itself
  Nanoseconds gather_limit = 2'000'000'000;   // after a pause, for all others beyond the minimum
  // From an agent's Done to SIGTERM; none for a user's program, which may have more to do.
  std::optional<Nanoseconds> linger = 10'000'000'000;
};

enum class Phase { kAdmitting, kRunning, kStopping, kLeaving, kEnding, kOver };

// A slot, and the agent in it: the one that lives, or the last one.
struct AgentLife {
  bool said_hello = false, ready = false;
  std::optional<std::string> report;  // its Done
  bool welcomed = false;
  bool link_open = false;
  bool alive = false;
  bool joining = false;                // started when the run had begun
  bool told_to_end = false;            // what it does from then on is our doing
  bool leaving = false;                // goes with the next planned view
  bool asked_itself = false;           // it was the agent that said so
  std::optional<Nanoseconds> hung;     // it was killed for having shown no sign of life for so long
  std::optional<Nanoseconds> died_at;  // it was known then
  std::optional<Nanoseconds> exit_due, kill_due;
  Words words;
  Nanoseconds changed_at = 0;       // when they did last
  std::optional<std::uint32_t> in;  // number of the view that it came in with
  Op in_from = 0;                   // and the op
  // The first view without it, once there is one: whoever has taken that up reads nothing here.
  std::optional<std::uint32_t> out;
};

// A planned view, until it is published. One whose point is only that everybody waits at its round
// stands until there are enough agents.
struct Plan {
  std::uint32_t number = 0;
  std::uint64_t round = 0;
  std::set<AgentId> asked, kept;
  std::uint32_t tries = 0;
};

// All that hold the state are dead.
struct Restart {
  Outcome cause;
  bool asked = false, taken = false;   // the book
  bool damaged = false;                // the state is, so a checkpoint is taken instead
  std::optional<std::uint64_t> round;  // of the book
  std::optional<Nanoseconds> enough_at;
};

// One that died on its way out, behind the last op that it did: see judge_departed().
struct Departed {
  AgentId agent = 0;
  Outcome outcome;
  Op from = 0;
};

// A death whose round is not finished yet.
struct Repair {
  Tell tell;
  Nanoseconds since = 0;
};

struct RunState {
  Rules rules;
  Phase phase = Phase::kAdmitting;
  bool prepared = false;
  std::uint32_t wanted = 1;
  std::vector<AgentLife> agents;  // [slots]
  std::optional<View> view;       // the newest; without members in a pause
  // The view before a planned one that is not known to be taken up, and the planned one's round.
  std::optional<View> before;
  std::uint64_t before_round = 0;
  std::optional<Departed> departed;
  std::optional<Plan> plan;
  std::optional<Restart> restart;
  std::uint32_t generation = 1;  // of views that are published from now on
  std::uint32_t number = 0;      // of the newest view or plan
  // Where published views begin, by number, as long as a member may be at an op under an older one.
  std::vector<std::pair<std::uint32_t, Op>> begins;
  bool over = false;  // no round is left to plan a view for
  bool joinable = true;
  bool stop_is_out = false;
  bool stop_signalled = false;  // by a signal: the next one ends everything at once
  bool waiting_told = false;
  // What the first agent said, which all others must say too.
  std::optional<std::pair<AgentId, wire::Hello>> first_hello;
  std::optional<std::pair<AgentId, wire::Ready>> first_ready;
  bool host_ready = false;                         // HostReady was acted
  std::optional<std::vector<std::uint32_t>> mine;  // the shards of this host, once they are told
  std::optional<std::uint64_t> adopted;            // the round of the newest, until a view says so
  bool anew = false;                               // and that was wanted though nothing changes
  std::optional<std::uint64_t> came;               // of a late host: the state, of this round
  std::uint32_t failed_starts = 0;                 // in a row
  bool starts_off = false;
  Outcome failed_start;
  std::uint64_t completed = 0;  // rounds
  std::uint64_t completed_at_death = 0;
  std::uint32_t damages = 0;     // in a row, without a round beyond the first one's
  std::uint64_t damaged_at = 0;  // rounds completed then
  std::uint32_t deaths = 0;      // in a row under the newest view, without a round between them
  std::vector<Nanoseconds> round_times;  // the newest, of a round
  std::optional<std::pair<std::uint64_t, Nanoseconds>> round_seen;
  std::optional<Nanoseconds> observed_at;
  std::vector<Repair> repairs;
  std::vector<AgentId> coming_in;  // by the newest planned view; told of when they are in
  std::vector<std::pair<AgentId, std::string>> reports;  // of agents whose slots were used again
  Outcome outcome;
  std::optional<Nanoseconds> terminate_at, kill_at;
};

struct Decision {
  RunState state;
  std::vector<Action> actions;
};

RunState begin(const Rules& rules);
Decision decide(RunState state, Event event, Nanoseconds now);
// When TimePassed is due next, if ever.
std::optional<Nanoseconds> next_deadline(const RunState& state);
// When Observed is due next, if ever. One that comes late gives all agents that much more time.
std::optional<Nanoseconds> next_observation(const RunState& state);

// The usual time of a round, 0 while it is not known.
Nanoseconds usual_round(const RunState& state);
// How long an agent that does this may show no sign of life.
Nanoseconds patience(const RunState& state, Busy busy);

}  // namespace instep::member
