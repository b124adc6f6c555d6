// The life of a run with fixed membership, as a pure function: what has happened so far, one event
// and the time go in; the new state and what the shell must do come out. No sockets, no clocks.
//
//   kAdmitting  agents start, say Hello, are welcomed once the launcher has prepared the data, and
//               say Ready; the last Ready publishes the view
//   kRunning    rounds go on without us; leaves when all are done, or when a stop is asked for
//   kStopping   everybody was asked to finish the round, save and be done
//   kLeaving    all are done; their processes end
//   kEnding     something failed, or nothing worth saving exists yet: agents are told, then
//               terminated, then killed
//   kOver       no process is left
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "member/view.h"
#include "wire/message.h"

namespace instep::member {

using Nanoseconds = std::int64_t;  // on any one monotonic clock

struct Rules {
  std::uint32_t agents = 1;
  bool needs_view = true;                // false: an agent may be done without one (it predicts)
  Nanoseconds exit_grace = 500'000'000;  // from a link's end to the news of its process's end
  Nanoseconds terminate_after = 300'000'000;  // from telling agents of a failure to SIGTERM
  Nanoseconds kill_after = 1'500'000'000;     // from there to SIGKILL
  // From an agent's Done to SIGTERM; none for a user's program, which may have more to do.
  std::optional<Nanoseconds> linger = 10'000'000'000;
};

enum class Reason {
  kNone,
  kFinished,     // all agents are done
  kStopped,      // all are done because a stop was asked for
  kAbandoned,    // a stop was asked for before there was anything to save, or a second time
  kFingerprint,  // two agents differ in something that changes bits
  kDisagree,     // two agents have different jobs or states
  kProtocol,     // an agent said something that it must not
  kExited,       // an agent's process ended before it was done, or with an exit code
  kKilled,       // the same, by a signal
  kLinkEnded,    // an agent hung up and did not end
  kAgentFailed,  // an agent reported an error
  kLauncher,     // something of the launcher's own failed: data, disk, descriptors
};

// Why a run ended. Which fields are set depends on the reason.
struct Outcome {
  Reason reason = Reason::kNone;
  AgentId agent = -1;
  AgentId other = -1;                     // kFingerprint, kDisagree: whom it differs from
  std::string what;                       // the key that differs, or what was said
  std::string value, expected;            // kFingerprint, kDisagree: of agent, of other
  int code = 0;                           // kExited: exit code; kKilled: signal
  bool joined = false;                    // kExited, kKilled: it had said Hello
  bool was_done = false;                  // kExited, kKilled: it had finished its part
  ErrorKind kind = ErrorKind::kInternal;  // kAgentFailed, kLauncher
  std::string message;                    // kAgentFailed, kLauncher
  std::string stop_reason;                // kStopped, kAbandoned
  bool interrupted = false;               // kStopped, kAbandoned: by a person at the terminal
};

// What happened.
struct Heard {
  AgentId agent;
  wire::Message message;
};
struct LinkEnded {
  AgentId agent;
  std::string error;  // empty: an orderly end of the stream
};
struct Exited {
  AgentId agent;
  int code;
  int signal;  // 0: it exited by itself
};
struct Prepared {};  // the data can be handed out
struct LauncherFailed {
  Error error;
};
struct StopAsked {
  std::string reason;
  bool by_signal;    // a second one ends everything at once
  bool interrupted;  // Ctrl-C
};
struct TimePassed {};
using Event =
    std::variant<Heard, LinkEnded, Exited, Prepared, LauncherFailed, StopAsked, TimePassed>;

// What the shell must do, in this order.
struct SendWelcome {
  AgentId agent;
};
struct Publish {
  View view;  // to every agent
};
struct SendStop {
  AgentId agent;
  std::string reason;
};
struct Signal {
  AgentId agent;
  int signal;
};
struct Show {
  AgentId agent;
  wire::Progress progress;
};
using Action = std::variant<SendWelcome, Publish, SendStop, Signal, Show>;

enum class Phase { kAdmitting, kRunning, kStopping, kLeaving, kEnding, kOver };

struct AgentLife {
  std::optional<wire::Hello> hello;
  std::optional<wire::Ready> ready;
  std::optional<std::string> report;  // its Done
  bool welcomed = false;
  bool link_open = true;
  bool alive = true;
  bool told_to_end = false;  // what it does from then on is our doing
  std::optional<Nanoseconds> exit_due;
};

struct RunState {
  Rules rules;
  Phase phase = Phase::kAdmitting;
  bool prepared = false;
  std::vector<AgentLife> agents;
  std::optional<View> view;
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

// 0 for a run that finished or was stopped as asked, 130 after Ctrl-C, 2 where the user can mend it
// (bad input, no space, no memory, …), else 1.
int exit_code(const Outcome& outcome);
int exit_code(ErrorKind kind);
// The words for a person, without the agent's log.
std::string describe(const Outcome& outcome);

}  // namespace instep::member
