// What the coordinator hears, and what it has its shell do.
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

enum class Busy : std::uint32_t { kOutside, kComputing, kWaiting };  // as fabric's

// What an agent's words say of where it is (fabric::AgentWords).
struct Words {
  // The op that it has begun last; the first one for which others may still need something of it,
  // as far as the view goes that it is at that op under.
  Op started = 0, released = 0;
  std::uint32_t view = 0;   // that view's number; 0: it has begun nothing
  std::uint64_t taken = 0;  // number of the newest view that it has taken up
  std::uint32_t beats = 0;
  Busy busy = Busy::kOutside;
  bool operator==(const Words&) const = default;
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
// There is proof that its process is no more, and what it left half done is undone.
struct Exited {
  AgentId agent;
  int code;
  int signal;        // 0: it exited by itself
  Words words = {};  // as it left them
  // When that was known, on the coordinator's clock. 0: now.
  Nanoseconds at = 0;
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
struct ScaleAsked {
  std::uint32_t agents;  // that are wanted from now on, 1 to Rules.slots
};
// The words of all slots, read one after the other; due at next_observation().
struct Observed {
  std::vector<Words> slots;
};
// The answer to TakeBook: the rounds done that the newest book of the dead is of, if there is one.
// On a host that came late (Rules.late), unasked: other hosts' state and a book of it are here.
struct BookTaken {
  std::optional<std::uint64_t> round;
};
// What the job says, where it is known only when agents are ready.
struct JobKnown {
  Nanoseconds patience;  // Rules.patience_ceiling
  bool restore;          // Rules.restore
};
struct TimePassed {};
// Of a host among several (Rules.hosted): the shards that it computes from this round on, which
// nobody here has finished; ascending. Of earlier rounds the sums of all shards are there or come
// from another host, so it does not matter who computes what in them.
struct Adopted {
  std::vector<std::uint32_t> shards;
  std::uint64_t round;
  // All members begin the round again, though the shards may be the same: nobody steps anything in
  // it before other hosts have what it begins with.
  bool anew = false;
};
using Event = std::variant<Heard, LinkEnded, Exited, Prepared, LauncherFailed, StopAsked,
                           ScaleAsked, Observed, BookTaken, JobKnown, TimePassed, Adopted>;
// Whether what becomes of it depends on who is in by now and who is not yet: an Observed goes
// before, as fresh as can be.
inline bool judged_by_words(const Event& event) {
  const auto* heard = std::get_if<Heard>(&event);
  return std::holds_alternative<Exited>(event) || std::holds_alternative<Adopted>(event) ||
         (heard != nullptr && std::holds_alternative<wire::Failed>(heard->message));
}

// What the shell must do, in this order.
struct SendWelcome {
  AgentId agent;
  bool joining;
};
struct Publish {
  View view;
  std::vector<AgentId> to;
  bool with_book;  // the book that was taken goes along
};
struct SendPropose {
  AgentId agent;
  wire::Propose propose;
};
struct SendStop {
  AgentId agent;
  std::string reason;
};
struct Signal {
  AgentId agent;
  int signal;
};
// Starts a process in the slot. What the last one left there is read by nobody any more.
struct Start {
  AgentId agent;
  bool beside;  // others train meanwhile: it must not be in their way
};
// Keeps the newest book among those of the dead and the one kept before, if any; answered by
// BookTaken. `checkpoint`: what they say is of no use, and the run goes back to its last
// checkpoint; there is no book then.
struct TakeBook {
  bool checkpoint = false;
};
// News for a person, the records and the report.
struct Tell {
  std::string kind;  // "died", "hung", "left", "joined", "refused", "paused", "waiting", "scaled",
                     // "corrupted"
  AgentId agent = -1;  // -1: of no one agent
  std::uint64_t round = 0;
  std::string reason;   // "killed by signal 9 (Killed)"; may be empty
  double stall_ms = 0;  // how much later a round was finished for it
  std::string text;     // the whole sentence
};
// Of a host among several, once: all agents are Ready, and wait for the first Adopted.
struct HostReady {};
using Action = std::variant<SendWelcome, Publish, SendPropose, SendStop, Signal, Start, TakeBook,
                            Tell, HostReady>;

}  // namespace instep::member
