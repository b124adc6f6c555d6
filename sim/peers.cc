#include "peers.h"

#include <utility>

#include "host.h"

namespace instep::sim {
namespace {

constexpr Nanoseconds kConnect = 10 * kSecond;
constexpr Nanoseconds kAgain = 200 * kMillisecond;
// A link has so many frames, of which it reads one; what else is sent waits.
constexpr std::size_t kFeedFrames = 2;

}  // namespace

void Peers::know(HostId peer) {
  const Peer& it = peers_[peer];
  if (peer < me_ && !it.out && !it.link) connect(peer);
}

void Peers::connect(HostId id) {
  const std::uint64_t attempt = ++peers_.at(id).attempt;
  net_.connect(me_, id, kConnect, [this, id, attempt](std::shared_ptr<Link> link) {
    const Peer& peer = peers_.at(id);
    if (peer.out || peer.attempt != attempt) {
      if (link) link->close();
      return;
    }
    if (!link) {
      loop_.after(kAgain, [this, id] { connect(id); });
      return;
    }
    link->send(wire::PeerHello{});
    link->start(this);
    take(id, std::move(link));
  });
}

void Peers::take(HostId peer, std::shared_ptr<Link> link) {
  Peer& it = peers_[peer];
  if (it.out) return link->close();
  if (const auto old = std::exchange(it.link, nullptr)) {
    old->close();
    it.waiting.clear();
    if (plant_ != Plant::kStaleLink) handler_.peer_is_down(peer);
  }
  it.link = std::move(link);
  handler_.peer_is_up(peer);
}

void Peers::cut(HostId peer) {
  Peer& it = peers_[peer];
  it.out = true;
  it.waiting.clear();
  if (const auto link = std::exchange(it.link, nullptr)) link->close();
}

void Peers::cut_all() {
  for (auto& [id, peer] : peers_) cut(id);
}

bool Peers::is_up(HostId peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && found->second.link != nullptr;
}

void Peers::send(HostId to, const round::RelayFrame& frame, std::span<const std::byte> payload,
                 std::shared_ptr<const void> keeper) {
  const auto found = peers_.find(to);
  if (found == peers_.end() || !found->second.link) return;
  found->second.waiting.push_back({frame, payload, std::move(keeper)});
  feed(to);
}

void Peers::feed(HostId id) {
  Peer& it = peers_.at(id);
  while (!it.waiting.empty() && it.link->queued() < kFeedFrames) {
    Waiting next = std::move(it.waiting.front());
    it.waiting.pop_front();
    it.link->send(next.frame, next.payload, std::move(next.keeper), [this, id] { feed(id); });
  }
}

void Peers::forget_waiting() {
  for (auto& [id, peer] : peers_) peer.waiting.clear();
}

Result<std::span<std::byte>> Peers::place(Link& link, const round::RelayFrame& frame) {
  return handler_.place(link.there(), frame);
}

Status Peers::took(Link& link, const round::RelayFrame& frame) {
  return handler_.took(link.there(), frame);
}

void Peers::hear(Link& /*link*/, const wire::HostMessage& /*message*/) {
  throw Violation("a host hears words of another host that only the hub says");
}

void Peers::closed(Link& link) {
  const HostId id = link.there();
  Peer& it = peers_.at(id);
  if (it.link.get() != &link) return;
  it.link.reset();
  it.waiting.clear();
  handler_.peer_is_down(id);
  if (id < me_ && !it.out) loop_.after(kAgain, [this, id] { connect(id); });
}

}  // namespace instep::sim
