// A host's links to the other hosts of its run: makes those to hosts with lower numbers, takes in
// the others, makes lost ones again, and cuts off hosts that are out. All on the loop's thread.
//
// A link gets frames as it sends them; the rest waits here, where a new line-up can forget it.
// Those of values are compressed as they are given to it, where the host's line is slow enough.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fabric/address.h"
#include "fabric/authority.h"
#include "fabric/compression.h"
#include "fabric/loop.h"
#include "fabric/tls_link.h"
#include "round/relay.h"

namespace instep::coord {

class Peers : public fabric::TlsLink::Sink {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual Result<std::span<std::byte>> place(std::uint32_t from,
                                               const round::RelayFrame& frame) = 0;
    virtual Status took(std::uint32_t from, const round::RelayFrame& frame) = 0;
    virtual void peer_is_up(std::uint32_t peer) = 0;
    // It is made again; what was on its way is lost.
    virtual void peer_is_down(std::uint32_t peer, const Error& why) = 0;
  };

  Peers(fabric::Loop& loop, fabric::Identity identity, std::uint32_t me,
        fabric::Compression compression, Handler& handler);
  ~Peers() override;

  // Another host of the run.
  void know(std::uint32_t peer, const fabric::Address& address);
  // A link that has said PeerHello, from the host that its certificate names; its sink is this.
  void take(std::uint32_t peer, std::shared_ptr<fabric::TlsLink> link);
  // It is out: after this nothing of it is read and nothing is sent to it.
  void cut(std::uint32_t peer);
  void cut_all();

  // Of its links.
  Result<std::span<std::byte>> place(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  void closed(fabric::TlsLink& link, const Error& why) override;

  bool is_up(std::uint32_t peer) const;
  // Of the links that are up, by host.
  std::map<std::uint32_t, fabric::LinkFlow> flows() const;
  // The payload stays as it is as long as `keeper` lives.
  void send(std::uint32_t to, const round::RelayFrame& frame, std::span<const std::byte> payload,
            std::shared_ptr<const void> keeper);
  // Of what was sent, bytes of payload that no link has taken yet.
  std::uint64_t waiting_bytes(std::uint32_t peer) const;
  // They are not sent any more.
  void forget_waiting();
  // What frames of values had, and what links got for it, since the last call.
  struct Given {
    std::uint64_t values = 0, sent = 0;
  };
  Given take_given() { return std::exchange(given_, {}); }

 private:
  struct Waiting {
    round::RelayFrame frame;
    std::span<const std::byte> payload;
    std::shared_ptr<const void> keeper;
  };
  struct Peer {
    fabric::Address address;
    std::shared_ptr<fabric::TlsLink> link;
    std::uint64_t attempt = 0;  // of making the link; older ones come too late
    fabric::Timer again;
    bool out = false;
    std::deque<Waiting> waiting;
    std::uint64_t waiting_bytes = 0;
    std::vector<std::byte> compressed;  // what is coming

    void drop_link();  // and all that waits for it
    void forget();
  };

  void feed(Peer& to);
  void give(Peer& to);
  double line_bytes_s();
  Status took_compressed(fabric::TlsLink& link, const fabric::FrameHead& head);
  void connect(std::uint32_t id);
  void connect_later(std::uint32_t id);
  std::uint32_t id_of(const fabric::TlsLink& link) const;

  fabric::Loop& loop_;
  const fabric::Identity identity_;
  const std::uint32_t me_;
  Handler& handler_;
  fabric::Compressor compressor_;
  fabric::Decompressor decompressor_;
  Given given_;
  double bytes_s_ = 0;  // of all links, when they were asked last
  std::int64_t ask_ns_ = 0;
  std::map<std::uint32_t, Peer> peers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false: nothing comes back here
};

// The name in a host's certificate, and the host of a name.
std::string host_name(std::uint32_t host);
Result<std::uint32_t> host_of(const std::string& name);

}  // namespace instep::coord
