// Why a run ended, in the words of the program and in those of a person.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "member/view.h"

namespace instep::member {

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
  kCrashLoop,    // one agent after the other died in the same round
};

// Why a run ended. Which fields are set depends on the reason.
struct Outcome {
  Reason reason = Reason::kNone;
  AgentId agent = -1;
  AgentId other = -1;                     // kFingerprint, kDisagree: whom it differs from
  std::string what;                       // the key that differs, or what was said
  std::string value, expected;            // kFingerprint, kDisagree: of agent, of other
  int code = 0;                           // kExited: exit code; kKilled, kCrashLoop: signal
  std::uint64_t round = 0;                // kCrashLoop
  bool joined = false;                    // kExited, kKilled: it had said Hello
  bool was_done = false;                  // kExited, kKilled: it had finished its part
  ErrorKind kind = ErrorKind::kInternal;  // kAgentFailed, kLauncher
  std::string message;                    // kAgentFailed, kLauncher
  std::string stop_reason;                // kStopped, kAbandoned
  bool interrupted = false;               // kStopped, kAbandoned: by a person at the terminal
};

// That of an error (kAgentFailed, kLauncher).
Outcome failure(Reason reason, Error error);

// 0 for a run that finished or was stopped as asked, 130 after Ctrl-C, 2 where the user can mend it
// (bad input, no space, no memory, …), else 1.
int exit_code(const Outcome& outcome);
int exit_code(ErrorKind kind);
// The words for a person, without the agent's log.
std::string describe(const Outcome& outcome);

}  // namespace instep::member
