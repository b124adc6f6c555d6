// A host's bridge to the others of its run: takes the host's members' parts of a round as they
// come, exchanges with the other hosts' bridges what they sum up to (round/relay.h), and gives the
// members the sums of all hosts. Which hosts these are, and who of them computes which shards, it
// hears from the hub (hub.h), and tells the launcher.
//
// Its work is done on the loop's thread. The launcher's thread calls what is marked so.
//
// Without a hub for longer than the patience it goes on alone: it takes on all shards, so that the
// round under way can be finished, and the launcher stops the run after that (design, rule 13).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "coord/line_meter.h"
#include "coord/part_watch.h"
#include "coord/peers.h"
#include "fabric/host_memory.h"
#include "job/job.h"
#include "member/lineup.h"
#include "member/view.h"
#include "round/relay.h"
#include "round/state_move.h"
#include "wire/host_message.h"
#include "wire/message.h"

namespace instep::coord {

// What the launcher hears.
struct Adopt {
  std::vector<std::uint32_t> shards;
  std::uint64_t round = 0;
  bool anew = false;                    // member::Adopted
  std::uint32_t hosts = 1, agents = 1;  // that train from that round on
};
// All hosts stop after this round.
struct AllStop {};
// The hub is gone, and this host finishes by itself.
struct Orphaned {
  std::string why;
};
// It cannot go on.
struct BridgeFailed {
  Error error;
};
// All hosts are done.
struct AllDone {};
// The job's files and its data have come from the first host; invalid: it has no data.
struct DataCame {
  Fd image;
};
// This host came late, and the state is here: it begins with this round.
struct StateCame {
  std::vector<std::byte> book;
  std::uint64_t round = 0;
};
struct BridgeNote {
  std::string text;
};
// Too few agents are left: all stand still until others have joined, and Adopt comes.
struct HostsAreMissing {
  std::uint64_t agents = 0, least = 0, limit_ms = 0;  // wire::HostsWait
};
// No others have: all stop, and each host ends with this error.
struct GaveUp {
  std::string why;
};
// What this host measured of its links, now and then while rounds are made.
struct LinesSeen {
  std::uint64_t round = 0;
  double share = 0;  // of the slices that it adds up
  double sent = 1;   // the part that compression leaves of values sent to others
  LineReport report;
  std::map<std::uint32_t, std::string> names;  // of hosts, for people
};
// To the first host: another one is in.
struct HostCame {
  std::string name;
  std::uint32_t agents = 0, host = 0;
};
// To the first host: one is lost.
struct HostWent {
  std::uint32_t host = 0;
};
// To the first host: another one was asked to stop, and wants all to.
struct StopWanted {
  std::string name;
};
using BridgeNews =
    std::variant<Adopt, AllStop, Orphaned, BridgeFailed, AllDone, DataCame, StateCame, BridgeNote,
                 HostsAreMissing, GaveUp, HostCame, HostWent, LinesSeen, StopWanted>;

fabric::Compression compression_of(const job::Job& job);

class Bridge : private Peers::Handler, private round::Carrier {
 public:
  struct Plan {
    std::uint32_t host = 0;
    fabric::Identity identity;
    reduce::Coding coding;           // of the job, as its members' exchanges have it
    std::uint32_t full_samples = 0;  // likewise
    fabric::Compression compression = fabric::Compression::kAuto;  // of what it sends to others
    bool late = false;  // it comes to a run under way, and holds no state yet
    std::function<void(const wire::HostMessage&)> tell_hub;  // on the loop's thread
    // Where this host reaches the first one, whatever that one calls its address.
    std::optional<fabric::Address> first_host;
  };
  static Result<std::unique_ptr<Bridge>> make(fabric::Loop& loop, Plan plan);
  // On the launcher's thread, when the loop has stopped.
  ~Bridge() override;

  std::uint32_t host() const { return plan_.host; }
  // By the launcher. The memory that its agents share; before anything else.
  Status use(const fabric::HostFiles& files);
  // All agents are ready.
  void ready(const wire::Ready& ready, const std::map<std::string, std::string>& fingerprint);
  // A view that its agents get.
  void view(const member::View& view);
  // Returns when nothing is read any more that a process which is to be started could overwrite.
  void fence();
  // The host's agents are done.
  void done();
  // It goes, and the others shall go on without it.
  void leave();
  // It is asked to stop, and all shall, if the first host agrees.
  void stop();
  // The others train already.
  bool late() const { return plan_.late; }
  // Readable when there is news.
  int descriptor() const { return wake_.get(); }
  std::vector<BridgeNews> take();

  // From any thread: to the launcher.
  void say(BridgeNews news);
  // On the loop's thread. What the hub says.
  void hear(const wire::HostMessage& message);
  // It cannot be reached any more.
  void lose_hub(const std::string& why);
  // A link from another host, whose sink is the bridge's from then on.
  fabric::TlsLink::Sink* take_peer(std::uint32_t peer, std::shared_ptr<fabric::TlsLink> link) {
    peers_.take(peer, std::move(link));
    return &peers_;
  }

 private:
  Bridge(fabric::Loop& loop, Plan plan);
  void send(std::uint32_t to, const round::RelayFrame& frame,
            std::span<const std::byte> payload) override;
  Result<std::span<std::byte>> place(std::uint32_t from, const round::RelayFrame& frame) override;
  Status took(std::uint32_t from, const round::RelayFrame& frame) override;
  void peer_is_up(std::uint32_t peer) override;
  void peer_is_down(std::uint32_t peer, const Error& why) override;

  void fail(Error error);
  void begin(const wire::HostsBegin& begin);
  round::Sums sums() const;
  void line_up(member::Lineup lineup);
  void halt(const wire::HostsHalt& halt);
  std::vector<std::uint32_t> lacks() const;  // hosts of the line-up
  void took_if_connected();
  void say_what_it_lacks(std::uint32_t number);
  void go(std::uint32_t number);
  void look_for_parts();
  void hear_of_parts(fabric::Ticket ticket);
  Status begin_round(const member::View& view, fabric::Ticket ticket);
  Result<round::LocalPart> local_part(member::AgentId agent, fabric::Ticket ticket,
                                      std::uint64_t round, bool& later) const;
  std::uint64_t check_of_state(std::uint64_t round) const;
  void pump();
  void after_progress();
  bool gives() const;  // the state, to those that come in with the line-up
  Status give(const member::View& view);
  Status take_from(const member::Lineup& lineup);
  void take_state();
  void offer(std::uint64_t round);
  // bridge_lines.cc
  void watch_lines();
  void look_at_lines();
  void round_done(std::uint64_t round);

  fabric::Loop& loop_;
  const Plan plan_;
  Peers peers_;
  Fd wake_;
  std::mutex mutex_;
  std::vector<BridgeNews> news_;  // guarded by mutex_

  // The host's memory.
  fabric::Mapping control_, state_, world_map_;
  std::vector<fabric::Mapping> arenas_;
  std::optional<PartWatch> watch_;
  wire::Ready ready_;
  std::optional<round::World> world_;
  std::vector<member::View> views_;  // ascending by number; those that may still be wanted

  // The line-up.
  std::optional<member::Lineup> lineup_;
  std::vector<std::uint32_t> mine_;  // shards
  std::shared_ptr<round::Relay> relay_;
  std::shared_ptr<const void> keeper_;  // of what is sent now
  // Of frames that are arriving, by host: where they go outlives the line-up under which they came.
  struct Arriving {
    std::shared_ptr<round::Relay> relay;
    std::shared_ptr<round::StateTaker> taker;
    std::vector<std::byte> forgotten;  // without one
  };
  std::map<std::uint32_t, Arriving> arriving_;
  bool empty_;                                // the state has not come yet
  std::shared_ptr<round::StateTaker> taker_;  // of it
  bool given_ = false;                        // it was sent to those that come in with the line-up
  // Rounds of which members were told something: they may have stepped blocks in them, in a void
  // one even before any sums have come.
  std::uint64_t told_ = 0;
  // Who gives the state waits for a view behind this one: under it members may step blocks in the
  // round that it is of.
  std::uint32_t stale_view_ = 0;
  std::uint32_t halted_ = 0;  // number of the line-up that is waited for
  bool went_ = false, said_took_ = false, alone_ = false, over_ = false, done_ = false;
  bool pumping_ = false;
  fabric::Ticket wanted_ = 0;
  LineMeter meter_;
  fabric::Timer look_;
  std::map<std::uint32_t, std::string> names_;  // of hosts
};

}  // namespace instep::coord
