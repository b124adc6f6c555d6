// The hub of a simulated run's hosts: the production decide_hosts() in a shell as coord::Hub is;
// and a host's link to it, as coord::HubLink. Nobody has to prove anything to get in.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "bridge.h"
#include "member/hosts.h"
#include "member/patience.h"
#include "network.h"

namespace instep::sim {

class Hub final : private Link::Sink {
 public:
  struct Plan {
    member::HostsRules rules;
    std::uint32_t agents = 1;  // on the first host
    Plant plant = Plant::kNone;
    // Told of each, before anything is done of it.
    std::function<void(const member::HostsAction&)> acts;
    std::function<void(HostId host, const std::string& why)> lost;
  };
  Hub(Loop& loop, Network& net, Bridge& bridge, Plan plan);

  // A link's first message.
  Link::Sink* first(const std::shared_ptr<Link>& link, const wire::HostMessage& message);
  void hear(HostId host, const wire::HostMessage& message);
  const member::HostsState& state() const { return state_; }
  // The first host's own Joined.
  void begin();

 private:
  struct Guest {
    std::shared_ptr<Link> link;
    bool known = false, gone = false;
    std::uint64_t patience = 0;  // a timer
  };
  Result<std::span<std::byte>> place(Link& link, const round::RelayFrame& frame) override;
  Status took(Link& link, const round::RelayFrame& frame) override;
  void hear(Link& link, const wire::HostMessage& message) override;
  void closed(Link& link) override;

  Link::Sink* welcome(const std::shared_ptr<Link>& link, const wire::HostHello& hello);
  void happen(member::HostsEvent event);
  void act(const member::HostsAction& action);
  void refuse(HostId host, const Error& why);
  void send(HostId host, const wire::HostMessage& message);
  void look_for(HostId host, const std::string& why, member::Patience patience);
  void lose(HostId host, const std::string& why);
  void set_timer();

  Loop& loop_;
  Network& net_;
  Bridge& bridge_;
  const Plan plan_;
  member::HostsState state_;
  std::map<HostId, Guest> guests_;
  std::uint64_t timer_ = 0;
};

class HubLink final : private Link::Sink {
 public:
  struct Handler {
    std::function<void(const wire::HostMessage&)> hear;
    std::function<void(const std::string& why)> lost;
  };
  HubLink(Loop& loop, Network& net, HostId me, std::uint32_t agents, Handler handler);

  void send(const wire::HostMessage& message);
  void close();

 private:
  Result<std::span<std::byte>> place(Link& link, const round::RelayFrame& frame) override;
  Status took(Link& link, const round::RelayFrame& frame) override;
  void hear(Link& link, const wire::HostMessage& message) override;
  void closed(Link& link) override;
  void connect();
  void give_up(const std::string& why);
  void look();

  Loop& loop_;
  Network& net_;
  const HostId me_;
  const std::uint32_t agents_;
  const Handler handler_;
  std::shared_ptr<Link> link_;
  bool over_ = false;
};

}  // namespace instep::sim
