// The links between hosts: what is sent arrives in order after a random while, until the link
// breaks or the way is blocked. As fabric::TlsLink, connect() and probe(), and coord::Door.
//
// A frame is read from its sender's memory, and written to its receiver's, while it is on its way:
// a half when it begins to arrive, and the rest when it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "counts.h"
#include "loop.h"
#include "member/lineup.h"
#include "round/relay.h"
#include "wire/host_message.h"

namespace instep::sim {

using member::HostId;
using member::kFirstHost;

class Network;

// One end of a link.
class Link : public std::enable_shared_from_this<Link> {
 public:
  class Sink {
   public:
    virtual ~Sink() = default;
    // An Error ends the link.
    virtual Result<std::span<std::byte>> place(Link& link, const round::RelayFrame& frame) = 0;
    virtual Status took(Link& link, const round::RelayFrame& frame) = 0;
    virtual void hear(Link& link, const wire::HostMessage& message) = 0;
    // It has ended, though not by close() or finish().
    virtual void closed(Link& link) = 0;
  };

  Link(Network& net, HostId here, HostId there) : net_(net), here_(here), there_(there) {}

  HostId there() const { return there_; }
  // When it was handed to whom it is for.
  Nanoseconds since() const { return since_; }
  void start(Sink* sink);
  void send(const wire::HostMessage& message);
  // `sent`, on the loop of this end: the payload is read no more; not called once the link has
  // ended.
  void send(const round::RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper, std::function<void()> sent);
  // Frames and messages that have not arrived yet.
  std::size_t queued() const { return queue_.size(); }
  // Its sink hears nothing more. What is on its way may still arrive, or some of it.
  void close() { end(false); }
  // All of it.
  void finish() { end(true); }

 private:
  friend class Network;
  struct Packet {
    std::optional<wire::HostMessage> message;
    round::RelayFrame frame;
    std::span<const std::byte> payload;
    std::shared_ptr<const void> keeper;
    std::function<void()> sent;
    std::vector<std::byte> copy;  // of the payload, when its memory is no more
  };
  void push(Packet packet);
  void end(bool whole);
  void keep(std::size_t packets);
  void move();
  void arrive();
  void begin_frame(Link& to, const Packet& packet);
  void end_frame();
  void next();
  void resume();
  void tell_closed();
  void give_up();
  bool open() const { return !ended_ && !broken_; }

  Network& net_;
  const HostId here_, there_;
  std::weak_ptr<Link> other_;
  Nanoseconds since_ = 0;
  Sink* sink_ = nullptr;
  std::deque<Packet> queue_;                  // to the other end
  bool moving_ = false;                       // the first of them is on its way
  std::optional<std::span<std::byte>> half_;  // where it goes, when a half of it is there
  bool ended_ = false;                        // by this end, or by its process
  bool broken_ = false;                       // for both; this one may not know yet
  bool told_ = false;                         // closed(), or it needs not be told
};

class Network {
 public:
  // What hosts are to their links.
  struct Node {
    Loop* loop = nullptr;
    // The first message on a link that was made to it: whose the link is from then on.
    std::function<Link::Sink*(const std::shared_ptr<Link>&, const wire::HostMessage&)> accept;
    bool listens = true;
  };
  enum class Probe { kListening, kClosed, kSilent };
  using OnConnected = std::function<void(std::shared_ptr<Link>)>;  // null: not within the limit

  Network(Timeline& timeline, Random& random, Counts& counts)
      : timeline_(timeline), random_(random), counts_(counts) {}

  void add(HostId host, Node node) { nodes_[host] = std::move(node); }
  void connect(HostId from, HostId to, Nanoseconds limit, OnConnected done);
  void probe(HostId from, HostId to, Nanoseconds limit, std::function<void(Probe)> found);

  // Nothing gets from one host to the other until it is open again.
  void block(HostId from, HostId to);
  void open(HostId from, HostId to);
  bool blocked(HostId from, HostId to) const { return blocked_.contains({from, to}); }
  // A link between the hosts, what is on its way with it; false: there is none.
  bool break_link(HostId a, HostId b);
  // The process has ended: its links end, and its ports are closed. `whole`: by itself.
  void end(HostId host, bool whole);
  // So has its machine: nobody hears so.
  void vanish(HostId host);
  bool vanished(HostId host) const { return vanished_.contains(host); }

 private:
  friend class Link;
  class Door;
  Loop& loop(HostId host) { return *nodes_.at(host).loop; }
  void attempt(HostId from, HostId to, Nanoseconds until, OnConnected done);
  std::shared_ptr<Link> make(HostId from, HostId to);
  void watch_silence(const std::shared_ptr<Link>& link);
  std::vector<std::shared_ptr<Link>> ends(HostId here, HostId there);

  Timeline& timeline_;
  Random& random_;
  Counts& counts_;
  std::map<HostId, Node> nodes_;
  std::vector<std::weak_ptr<Link>> ends_;
  std::map<std::pair<HostId, HostId>, std::uint64_t> blocked_;  // by which block
  std::uint64_t blocks_ = 0;
  std::set<HostId> vanished_;
  std::map<const Link*, std::shared_ptr<Door>> doors_;
  std::map<const Link*, std::shared_ptr<Link>> parked_;
};

}  // namespace instep::sim
