// A host's links to the others of its run: as coord::Peers.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "network.h"
#include "plant.h"

namespace instep::sim {

class Peers final : public Link::Sink {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual Result<std::span<std::byte>> place(HostId from, const round::RelayFrame& frame) = 0;
    virtual Status took(HostId from, const round::RelayFrame& frame) = 0;
    virtual void peer_is_up(HostId peer) = 0;
    virtual void peer_is_down(HostId peer) = 0;
  };

  Peers(Loop& loop, Network& net, HostId me, Plant plant, Handler& handler)
      : loop_(loop), net_(net), me_(me), plant_(plant), handler_(handler) {}

  void know(HostId peer);
  void take(HostId peer, std::shared_ptr<Link> link);
  void cut(HostId peer);
  void cut_all();
  bool is_up(HostId peer) const;
  Nanoseconds since(HostId peer) const { return peers_.at(peer).link->since(); }
  void send(HostId to, const round::RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper);
  // What no link has taken yet is not sent any more.
  void forget_waiting();

 private:
  Result<std::span<std::byte>> place(Link& link, const round::RelayFrame& frame) override;
  Status took(Link& link, const round::RelayFrame& frame) override;
  void hear(Link& link, const wire::HostMessage& message) override;
  void closed(Link& link) override;

  struct Waiting {
    round::RelayFrame frame;
    std::span<const std::byte> payload;
    std::shared_ptr<const void> keeper;
  };
  struct Peer {
    std::shared_ptr<Link> link;
    std::uint64_t attempt = 0;
    bool out = false;
    std::deque<Waiting> waiting;
  };
  void feed(HostId id);
  void connect(HostId id);

  Loop& loop_;
  Network& net_;
  const HostId me_;
  const Plant plant_;
  Handler& handler_;
  std::map<HostId, Peer> peers_;
};

}  // namespace instep::sim
