// A host's bridge: the production Relay and World in a shell as coord::Bridge is, function by
// function. Its work is done on the loop's thread; the launcher calls what is marked so.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "job.h"
#include "loop.h"
#include "member/lineup.h"
#include "member/view.h"
#include "memory.h"
#include "part_watch.h"
#include "peers.h"
#include "plant.h"
#include "round/relay.h"
#include "round/state_move.h"
#include "wire/host_message.h"

namespace instep::sim {

// What the launcher hears: as in coord/bridge.h.
struct Adopt {
  std::vector<std::uint32_t> shards;
  std::uint64_t round = 0;
  bool anew = false;
};
struct AllStop {};
struct Orphaned {
  std::string why;
};
struct BridgeFailed {
  Error error;
};
struct AllDone {};
struct GaveUp {};
struct DataCame {};
struct StateCame {
  std::vector<std::byte> book;
  std::uint64_t round = 0;
};
using BridgeNews =
    std::variant<Adopt, AllStop, Orphaned, BridgeFailed, AllDone, GaveUp, DataCame, StateCame>;

class Bridge final : private Peers::Handler, private round::Carrier {
 public:
  struct Plan {
    HostId host = 0;
    Plant plant = Plant::kNone;
    bool late = false;
    std::function<void(const wire::HostMessage&)> tell_hub;
    std::function<void()> news;  // there is some for the launcher
    std::function<void(const char*)> note;
  };
  Bridge(Loop& loop, Network& net, const Job& job, Memory& memory, Plan plan);

  // By the launcher.
  void ready();
  void view(const member::View& view);
  void fence();
  void done();
  void leave();
  void stop();
  std::vector<BridgeNews> take() { return std::exchange(news_, {}); }

  // Of production code: somebody wakes who sleeps on the word.
  void woken(const void* word) { watch_.woken(word); }

  void say(BridgeNews news);
  void hear(const wire::HostMessage& message);
  void lose_hub(const std::string& why);
  Link::Sink* take_peer(HostId peer, std::shared_ptr<Link> link) {
    peers_.take(peer, std::move(link));
    return &peers_;
  }

 private:
  void send(std::uint32_t to, const round::RelayFrame& frame,
            std::span<const std::byte> payload) override;
  Result<std::span<std::byte>> place(HostId from, const round::RelayFrame& frame) override;
  Status took(HostId from, const round::RelayFrame& frame) override;
  void peer_is_up(HostId peer) override;
  void peer_is_down(HostId peer) override;

  void fail(Error error);
  void begin(const wire::HostsBegin& begin);
  round::Sums sums() const;
  void line_up(member::Lineup lineup);
  void halt(const wire::HostsHalt& halt);
  std::vector<HostId> lacks() const;  // hosts of the line-up
  void took_if_connected();
  void say_what_it_lacks(std::uint32_t number);
  void go(std::uint32_t number);
  void look_for_parts();
  void hear_of_parts(fabric::Ticket ticket);
  Status begin_round(const member::View& view, fabric::Ticket ticket);
  Result<round::LocalPart> local_part(AgentId agent, fabric::Ticket ticket, std::uint64_t round,
                                      bool& later) const;
  std::uint64_t check_of_state(std::uint64_t round) const;
  Error out_of_turn(HostId from, const Error& why) const;
  void pump();
  void after_progress();
  void offer(std::uint64_t round);
  bool gives() const;
  Status give(const member::View& view);
  Status take_from(const member::Lineup& lineup);

  Loop& loop_;
  const Job& job_;
  Memory& memory_;
  const Plan plan_;
  Peers peers_;
  PartWatch watch_;
  std::vector<BridgeNews> news_;
  std::optional<round::World> world_;
  std::vector<member::View> views_;

  std::optional<member::Lineup> lineup_;
  std::vector<std::uint32_t> mine_;  // shards
  std::shared_ptr<round::Relay> relay_;
  struct Arriving {
    std::shared_ptr<round::Relay> relay;
    std::shared_ptr<round::StateTaker> taker;
    std::uint32_t lineup = 0;  // of the frame
    std::vector<std::byte> forgotten;
  };
  std::map<HostId, Arriving> arriving_;
  bool empty_;
  std::shared_ptr<round::StateTaker> taker_;
  bool given_ = false;
  std::uint32_t stale_view_ = 0;
  std::uint64_t first_round_ = 0, told_ = 0;
  std::uint32_t halted_ = 0;
  bool went_ = false, said_took_ = false, alone_ = false, over_ = false, done_ = false;
  bool pumping_ = false;
  fabric::Ticket wanted_ = 0;
  Nanoseconds lined_up_at_ = 0;
};

}  // namespace instep::sim
