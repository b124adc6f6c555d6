#include "coord/peers.h"

#include <algorithm>
#include <charconv>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "coord/host_frames.h"
#include "fabric/tls_connect.h"
#include "wire/host_message.h"

namespace instep::coord {
namespace {

// One attempt; whoever waits for the link has patience of its own.
constexpr std::int64_t kConnectMs = 10'000;
constexpr std::int64_t kAgainMs = 200;
constexpr std::string_view kNamePrefix = "host-";
// A link always has so much to encrypt. More than it encrypts at a time: what it has not sent of
// that counts, and it asks for more no later than when it has encrypted all.
constexpr std::size_t kFeedBytes = 512 << 10;
// How fast a line is changes slowly beside this, and asking all links is a call of each.
constexpr std::int64_t kAskNs = 20 * kMillisecond;
static_assert(kFeedBytes > fabric::LinkLimits{}.sending_bytes);

}  // namespace

std::string host_name(std::uint32_t host) { return cat(kNamePrefix, host); }

Result<std::uint32_t> host_of(const std::string& name) {
  std::uint32_t host = 0;
  const std::string_view digits = std::string_view(name).substr(
      std::min(name.size(), name.starts_with(kNamePrefix) ? kNamePrefix.size() : name.size()));
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), host);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return Error{ErrorKind::kCorrupt, cat("a certificate for '", name, "', which is no host")};
  }
  return host;
}

Peers::Peers(fabric::Loop& loop, fabric::Identity identity, std::uint32_t me,
             fabric::Compression compression, Handler& handler)
    : loop_(loop),
      identity_(std::move(identity)),
      me_(me),
      handler_(handler),
      compressor_(compression) {}

Peers::~Peers() {
  *alive_ = false;
  cut_all();
}

void Peers::know(std::uint32_t peer, const fabric::Address& address) {
  Peer& it = peers_[peer];
  it.address = address;
  if (peer < me_ && !it.out && !it.link) connect(peer);
}

void Peers::connect(std::uint32_t id) {
  Peer& it = peers_.at(id);
  const std::uint64_t attempt = ++it.attempt;
  fabric::connect(
      loop_, it.address, identity_, {kConnectMs, host_name(id), {}, ""},
      [this, id, attempt, alive = std::weak_ptr(alive_)](auto link) {
        const auto here = alive.lock();
        if (!here || !*here) return;
        Peer& peer = peers_.at(id);
        if (peer.out || peer.attempt != attempt) return;
        if (!link.ok()) return connect_later(id);
        (*link)->send({kMessageFrame, 0, 0, 0, 0}, wire::encode_host(wire::PeerHello{}));
        (*link)->start(this);
        take(id, link.take());
      });
}

void Peers::connect_later(std::uint32_t id) {
  peers_.at(id).again = loop_.after(kAgainMs, [this, id] { connect(id); });
}

void Peers::take(std::uint32_t peer, std::shared_ptr<fabric::TlsLink> link) {
  Peer& it = peers_[peer];
  if (it.out) return link->close();
  if (it.link) {
    // The other end has seen before us that it broke: what we have sent by it since is lost.
    it.drop_link();
    handler_.peer_is_down(peer, {ErrorKind::kUnavailable, "another link was made"});
  }
  it.link = std::move(link);
  handler_.peer_is_up(peer);
}

void Peers::cut(std::uint32_t peer) {
  Peer& it = peers_[peer];
  it.out = true;
  it.drop_link();
}

void Peers::cut_all() {
  for (auto& [id, peer] : peers_) cut(id);
}

bool Peers::is_up(std::uint32_t peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && found->second.link != nullptr;
}

std::map<std::uint32_t, fabric::LinkFlow> Peers::flows() const {
  std::map<std::uint32_t, fabric::LinkFlow> out;
  for (const auto& [id, peer] : peers_) {
    if (const auto flow = peer.link ? peer.link->flow() : std::nullopt) out.emplace(id, *flow);
  }
  return out;
}

void Peers::send(std::uint32_t to, const round::RelayFrame& frame,
                 std::span<const std::byte> payload, std::shared_ptr<const void> keeper) {
  const auto found = peers_.find(to);
  // One that is down is told so by its link; the next line-up sends it all again.
  if (found == peers_.end() || !found->second.link) return;
  found->second.waiting.push_back({frame, payload, std::move(keeper)});
  found->second.waiting_bytes += payload.size();
  feed(found->second);
}

std::uint64_t Peers::waiting_bytes(std::uint32_t peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? 0 : found->second.waiting_bytes;
}

void Peers::forget_waiting() {
  for (auto& [id, peer] : peers_) peer.forget();
}

void Peers::Peer::forget() {
  waiting.clear();
  waiting_bytes = 0;
}

void Peers::Peer::drop_link() {
  forget();
  if (const auto old = std::exchange(link, nullptr)) old->close();
}

void Peers::feed(Peer& to) {
  while (!to.waiting.empty() && to.link->queued_bytes() < kFeedBytes) give(to);
}

void Peers::give(Peer& to) {
  Waiting next = std::move(to.waiting.front());
  to.waiting.pop_front();
  to.waiting_bytes -= next.payload.size();
  fabric::FrameHead head = to_head(next.frame);
  if (next.frame.width > 0) {
    given_.values += next.payload.size();
    if (auto smaller = compressor_.compress(next.payload, next.frame.width, line_bytes_s())) {
      const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(*smaller));
      next.payload = *kept;
      next.keeper = kept;
      head.kind |= kCompressed;
      head.size = static_cast<std::uint32_t>(kept->size());
    }
    given_.sent += next.payload.size();
  }
  // A link that was dropped calls no more; peers stay.
  to.link->send(head, next.payload,
                [this, &to, alive = std::weak_ptr(alive_), keeper = std::move(next.keeper)] {
                  const auto here = alive.lock();
                  if (here && *here && to.link) feed(to);
                });
}

// At which all links together deliver now: they share the host's line.
double Peers::line_bytes_s() {
  const std::int64_t now = monotonic_ns();
  if (now < ask_ns_) return bytes_s_;
  ask_ns_ = now + kAskNs;
  bytes_s_ = 0;
  for (const auto& [id, flow] : flows()) bytes_s_ += static_cast<double>(flow.bytes_s);
  return bytes_s_;
}

std::uint32_t Peers::id_of(const fabric::TlsLink& link) const {
  const auto found = std::find_if(peers_.begin(), peers_.end(), [&link](const auto& it) {
    return it.second.link.get() == &link;
  });
  return found == peers_.end() ? me_ : found->first;
}

Result<std::span<std::byte>> Peers::place(fabric::TlsLink& link, const fabric::FrameHead& head) {
  if (!is_relay_frame(head)) {
    return Error{ErrorKind::kCorrupt, cat("a frame of kind ", head.kind, " from another host")};
  }
  const std::uint32_t id = id_of(link);
  if ((head.kind & kCompressed) == 0) return handler_.place(id, to_relay_frame(head));
  // Where its values go is asked when it says how many there are.
  std::vector<std::byte>& to = peers_.at(id).compressed;
  to.resize(head.size);
  return std::span(to);
}

Status Peers::took(fabric::TlsLink& link, const fabric::FrameHead& head) {
  if (head.size == 0) INSTEP_RETURN_IF_ERROR(place(link, head).status());
  if ((head.kind & kCompressed) != 0) return took_compressed(link, head);
  return handler_.took(id_of(link), to_relay_frame(head));
}

Status Peers::took_compressed(fabric::TlsLink& link, const fabric::FrameHead& head) {
  const std::uint32_t id = id_of(link);
  const std::vector<std::byte>& compressed = peers_.at(id).compressed;
  round::RelayFrame frame = to_relay_frame(head);
  INSTEP_ASSIGN_OR_RETURN(frame.bytes, fabric::Decompressor::size_of(compressed));
  INSTEP_ASSIGN_OR_RETURN(const std::span<std::byte> to, handler_.place(id, frame));
  INSTEP_RETURN_IF_ERROR(decompressor_.decompress(compressed, to));
  return handler_.took(id, frame);
}

void Peers::closed(fabric::TlsLink& link, const Error& why) {
  const std::uint32_t id = id_of(link);
  if (id == me_) return;
  Peer& it = peers_.at(id);
  it.drop_link();
  handler_.peer_is_down(id, why);
  if (id < me_ && !it.out) connect_later(id);
}

}  // namespace instep::coord
