// The edge where reasons become words and exit codes.
#include <string.h>

#include <utility>

#include "base/text.h"
#include "member/outcome.h"

namespace instep::member {
namespace {

// A value that two agents differ in may be a whole job: enough of it to see what it is.
std::string shortened(const std::string& value) {
  constexpr std::size_t kMost = 100;
  return value.size() <= kMost ? value : value.substr(0, kMost) + "…";
}

std::string differs(const Outcome& outcome, const char* advice) {
  return cat("agent ", outcome.agent, " and agent ", outcome.other, " differ in ", outcome.what,
             ": '", shortened(outcome.value), "' and '", shortened(outcome.expected), "'; ",
             advice);
}

}  // namespace

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
    case ErrorKind::kNotFound:
    case ErrorKind::kCorrupt:
    case ErrorKind::kMismatch:
    case ErrorKind::kTaken:
    case ErrorKind::kNoSpace:
    case ErrorKind::kNoMemory:
      return 2;
    case ErrorKind::kUnavailable:
    case ErrorKind::kAgain:
    case ErrorKind::kDamaged:
    case ErrorKind::kInternal:
      return 1;
  }
  return 1;
}

Outcome failure(Reason reason, Error error) {
  Outcome out;
  out.reason = reason;
  out.kind = error.kind;
  out.message = std::move(error.message);
  return out;
}

int exit_code(const Outcome& outcome) {
  constexpr int kInterrupted = 130;  // as shells say it: 128 + SIGINT
  switch (outcome.reason) {
    case Reason::kNone:
    case Reason::kFinished:
      return 0;
    case Reason::kStopped:
      return outcome.interrupted ? kInterrupted : 0;
    case Reason::kAbandoned:
      return kInterrupted;
    case Reason::kFingerprint:
    case Reason::kDisagree:
      return exit_code(ErrorKind::kMismatch);
    case Reason::kAgentFailed:
    case Reason::kLauncher:
      return exit_code(outcome.kind);
    case Reason::kProtocol:
    case Reason::kExited:
    case Reason::kKilled:
    case Reason::kLinkEnded:
    case Reason::kCrashLoop:
      return 1;
  }
  return 1;
}

std::string describe(const Outcome& outcome) {
  const char* when = outcome.was_done ? " after it was done"
                     : outcome.joined ? " before it was done"
                                      : " before it joined the run";
  switch (outcome.reason) {
    case Reason::kNone:
      return "the run goes on";
    case Reason::kFinished:
      return "the run is finished";
    case Reason::kStopped:
      return cat("the run was stopped: ", outcome.stop_reason);
    case Reason::kAbandoned:
      return cat("the run was ended at once: ", outcome.stop_reason);
    case Reason::kFingerprint:
      return differs(outcome,
                     "agents that train together need the same build, processor and settings");
    case Reason::kDisagree:
      return differs(outcome, "all agents must run the same program with the same settings");
    case Reason::kProtocol:
      return cat("agent ", outcome.agent, " broke the protocol: ", outcome.what);
    case Reason::kExited:
      return cat("agent ", outcome.agent, " ended with exit code ", outcome.code, when);
    case Reason::kKilled:
      return cat("agent ", outcome.agent, " was killed by signal ", outcome.code, " (",
                 ::strsignal(outcome.code), ")", when);
    case Reason::kLinkEnded:
      return cat("agent ", outcome.agent, " hung up before it was done");
    case Reason::kCrashLoop:
      return cat("round ", outcome.round, " kills one agent after the other; the last one, agent ",
                 outcome.agent, ", was killed by signal ", outcome.code, " (",
                 ::strsignal(outcome.code), ")");
    case Reason::kAgentFailed:
    case Reason::kLauncher:
      return outcome.message;
  }
  return "";
}

}  // namespace instep::member
