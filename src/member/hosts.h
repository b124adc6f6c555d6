// Which hosts train together as a pure function: what has happened so far, one event and the time
// go in; the new state and what the shell must do come out. It runs beside the coordinator of host
// 0, which is the only place where that is decided: hosts that lose it end by themselves.
//
// A host that comes when the run has begun waits until its agents are ready. Then all halt, and the
// next line-up has it in and says who gives it the state.
//
//   kGathering  hosts say what they have; left when there are agents enough. Come back to when too
//               many are lost before the first Go
//   kStarting   agents start on all of them; left when all have said what they have there
//   kTelling    a line-up is out; left when all have taken it, since nobody may exchange under one
//               that another has not heard of
//   kRunning    rounds go on without us; left when a host is lost, leaves or comes in, and when
//               other slices would go better with the hosts' lines
//   kHalting    those left are asked for the rounds that they have; left when all have said so and
//               there are agents enough. Until then the run stands still (hosts_wait.cc)
//   kOver       nothing is decided any more
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "member/events.h"
#include "member/lines.h"
#include "member/lineup.h"

namespace instep::member {

// What happened. What a host says that is lost, was refused or is not known is ignored, and so is
// what it said before.

// Its control link is up, and it has proved itself.
struct HostJoined {
  HostId host;
  std::string name, address;  // for people; where other hosts reach it
  std::uint32_t agents;
};
// What hosts must agree on to train together, as their agents say it (wire::Hello, wire::Ready).
struct HostFacts {
  std::string job_hash, state_hash;
  std::uint64_t first_round = 0;
  std::uint32_t shards = 0;
  std::uint64_t blocks = 0;
  std::map<std::string, std::string> fingerprint;
};
// All its agents are ready (HostReady), after Begin.
struct HostIsReady {
  HostId host;
  HostFacts facts;
};
// The answer to Halt; and what one that came in says when it has got the state.
struct HostStands {
  HostId host;
  std::uint32_t number;
  std::uint64_t done;  // rounds whose result it has
  bool empty = false;  // it has not got the state yet
};
// The answer to TellLineup: it cuts off whoever is not in, and is ready for what others send.
struct HostTook {
  HostId host;
  std::uint32_t number;
};
struct HostLost {
  HostId host;
  std::string why;  // "the connection was closed"
};
struct HostLeaves {  // its agents were all asked to
  HostId host;
};
struct HostDone {  // with its last round; it stays for others that lack something of that one
  HostId host;
};
// A link of it, to us or to another host, broke, and what was on its way is lost: all is exchanged
// anew, by the same hosts.
struct HostBroken {
  HostId host;
};
// The answer to AskLinks: hosts of the line-up to which it has no link.
struct HostLacks {
  HostId host;
  std::uint32_t number;
  std::vector<HostId> peers;
};
// What it has seen of its line in the rounds of a line-up, since it said so last.
struct HostMeasured {
  HostId host;
  std::uint32_t number;
  LineSeen seen;
};
// Somebody has asked the run to stop: it ends with the next round, however few are left.
struct RunStops {};
using HostsEvent =
    std::variant<HostJoined, HostIsReady, HostStands, HostTook, HostLost, HostLeaves, HostDone,
                 TimePassed, HostBroken, HostLacks, HostMeasured, RunStops>;

// What the shell must do, in this order. Each host hears what is for it in this order.

struct HostEntry {
  HostId host = 0;
  std::string name, address;
  std::uint32_t agents = 0;
  bool operator==(const HostEntry&) const = default;
};
// Enough are there: to all of them, to start agents and to connect to each other. Said again, with
// others, when hosts were lost before the first Go and new ones came.
struct Begin {
  std::vector<HostEntry> hosts;
};
struct TellLineup {  // to all its hosts
  Lineup lineup;
};
struct Go {  // exchange under this line-up
  std::uint32_t number;
  std::vector<HostId> to;
};
// Stop to exchange, cut this host off, and say where you stand; the next line-up has this number.
struct Halt {
  std::uint32_t number;
  std::optional<HostId> lost;  // none: a link only
  std::vector<HostId> to;
};
// Say which links of this line-up you lack (HostLacks).
struct AskLinks {
  std::uint32_t number;
  std::vector<HostId> to;
};
// Too few are left: the run stands still until others have joined, but no longer than this. Said
// again when somebody has come or gone.
struct Wait {
  std::uint64_t agents;  // that are there
  std::uint32_t least;   // that it takes
  Nanoseconds limit;
  std::vector<HostId> to;
};
// Nobody has joined. Those that are left are told to go on once more, for all to stop, so that what
// they have is saved; and to end with this error.
struct GiveUp {
  Error why;
  std::vector<HostId> to;
};
struct Refuse {
  HostId host;
  std::string why;
};
struct EndRun {
  std::optional<Error> error;  // none: all hosts are done
};
using HostsAction =
    std::variant<Begin, TellLineup, Go, Halt, AskLinks, Wait, GiveUp, Refuse, Tell, EndRun>;

struct HostsRules {
  std::uint32_t min_agents = 1;              // of all hosts together; fewer than that wait, or end
  std::uint32_t max_agents = 1;              // nobody waits for more than that
  Nanoseconds gather_limit = 2'000'000'000;  // from min_agents on, for all others
  // Training does not begin before so many hosts have come, whether or not all of them stayed.
  std::uint32_t min_hosts = 1;
  // From a line-up to the last one who takes it: for links between hosts to be made, or made again.
  // After that all are asked which ones they lack, and some have to go (hosts_apart.cc).
  Nanoseconds link_limit = 15'000'000'000;
  // With fewer than min_agents left, for others to join. 0: the run ends at once.
  Nanoseconds wait_limit = 0;
  // The run goes on from a checkpoint of the first host: it gives all others the state.
  bool first_holds = false;
};

enum class HostsPhase { kGathering, kStarting, kTelling, kRunning, kHalting, kOver };

struct HostLife {
  HostEntry entry;
  // Rounds' worth a second that its line carries (slices.h), once slices were weighed by that.
  std::optional<double> line;
  std::optional<LineSeen> seen;  // and not judged yet
  bool ready = false;
  bool took = false;                         // the newest line-up
  std::optional<std::vector<HostId>> lacks;  // since the newest AskLinks
  std::optional<std::uint64_t> stands;       // since the newest Halt
  bool done = false;
  bool empty = false;              // it does not hold the state, as far as we know
  std::optional<HostFacts> facts;  // since it was ready
};

// Since when too few are there, with how many, and whether enough are on their way: have joined,
// and are not ready yet.
struct Waiting {
  Nanoseconds since = 0;
  std::uint64_t agents = 0;
  bool coming = false;
};

struct HostsState {
  HostsRules rules;
  HostsPhase phase = HostsPhase::kGathering;
  std::map<HostId, HostLife> hosts;  // that are there
  std::map<HostId, HostLife> late;   // that came when the run had begun, and are not in yet
  std::set<HostId> gone;             // for good
  // What the first one that was ready and holds the state said, which all others must say too, and
  // its name.
  std::optional<std::pair<std::string, HostFacts>> facts;
  std::uint32_t number = 0;      // of the newest line-up or Halt
  std::optional<Lineup> lineup;  // the newest
  bool gone_on = false;          // there was a Go
  bool stopping = false;         // RunStops, or GiveUp
  std::optional<Waiting> waiting;
  std::string loss;  // the newest, in words
  std::optional<Nanoseconds> enough_at;
  std::optional<Nanoseconds> told_at;  // the line-up that not all have taken
  bool asked = false;                  // which links are missing for it
  Suspicion suspicion;
  std::uint32_t alike = 0;         // judgements in a row that even slices would do again
  std::uint32_t weighed = 0;       // times that slices were spread anew by the lines
  Nanoseconds weigh_again_at = 0;  // not before
};

struct HostsDecision {
  HostsState state;
  std::vector<HostsAction> actions;
};

HostsState begin_hosts(const HostsRules& rules);
HostsDecision decide_hosts(HostsState state, HostsEvent event, Nanoseconds now);
// When TimePassed is due next, if ever.
std::optional<Nanoseconds> next_deadline(const HostsState& state);

}  // namespace instep::member
