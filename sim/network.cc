#include "network.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace instep::sim {
namespace {

// As fabric::LinkLimits and its Connector have them.
constexpr Nanoseconds kSilence = 10 * kSecond;
constexpr Nanoseconds kPause = 200 * kMillisecond;

}  // namespace

// Who reads a link's first message, and hands it on.
class Network::Door final : public Link::Sink {
 public:
  Door(Network& net, HostId here, std::shared_ptr<Link> link)
      : net_(net), here_(here), link_(std::move(link)) {}

 private:
  Result<std::span<std::byte>> place(Link&, const round::RelayFrame&) override {
    return invalid("a frame before the first message");
  }
  Status took(Link&, const round::RelayFrame&) override { return {}; }
  void hear(Link& link, const wire::HostMessage& message) override {
    const auto keep = net_.doors_.extract(&link);
    link.sink_ = nullptr;
    link.since_ = net_.timeline_.now();
    if (const auto other = link.other_.lock()) other->since_ = link.since_;
    Link::Sink* const sink = net_.nodes_.at(here_).accept(link_, message);
    sink == nullptr ? link.finish() : link.start(sink);
  }
  void closed(Link& link) override { net_.doors_.erase(&link); }

  Network& net_;
  const HostId here_;
  const std::shared_ptr<Link> link_;
};

void Link::start(Sink* sink) {
  if (ended_) return;
  sink_ = sink;
  if (const auto other = other_.lock()) other->resume();
}

void Link::send(const wire::HostMessage& message) {
  Packet packet;
  packet.message = message;
  push(std::move(packet));
}

void Link::send(const round::RelayFrame& frame, std::span<const std::byte> payload,
                std::shared_ptr<const void> keeper, std::function<void()> sent) {
  Packet packet;
  packet.frame = frame;
  packet.payload = payload;
  packet.keeper = std::move(keeper);
  packet.sent = std::move(sent);
  push(std::move(packet));
}

void Link::push(Packet packet) {
  if (!open()) return;
  queue_.push_back(std::move(packet));
  move();
}

// The next of what was sent, or at last the news that no more comes, sets out.
void Link::move() {
  if (moving_ || broken_ || (queue_.empty() && !ended_)) return;
  moving_ = true;
  // The first word of a link may wait for the end of its handshake.
  const Nanoseconds slow =
      net_.random_.below(since_ == 0 ? 4 : 200) == 0 ? 20 * kMillisecond : 30 * kMicrosecond;
  net_.loop(there_).after(5 * kMicrosecond + net_.timeline_.upto(slow),
                          [self = shared_from_this()] { self->arrive(); });
}

void Link::resume() {
  if (net_.parked_.erase(this) == 0) return;
  net_.loop(there_).after(net_.timeline_.upto(100 * kMicrosecond),
                          [self = shared_from_this()] { self->arrive(); });
}

void Link::next() {
  if (!queue_.empty()) queue_.pop_front();
  moving_ = false;
  move();
}

void Link::arrive() {
  const auto to = other_.lock();
  if (broken_ || !to || to->ended_) return queue_.clear();
  // It waits: the way is blocked, or nobody reads.
  if (net_.blocked(here_, there_) || to->sink_ == nullptr) {
    net_.parked_.emplace(this, shared_from_this());
    return;
  }
  if (half_) return end_frame();
  if (queue_.empty()) return to->tell_closed();
  const Packet& packet = queue_.front();
  if (!packet.message) return begin_frame(*to, packet);
  const wire::HostMessage message = *packet.message;
  to->sink_->hear(*to, message);
  next();
}

void Link::begin_frame(Link& to, const Packet& packet) {
  const auto place = to.sink_->place(to, packet.frame);
  if (!place.ok()) return to.give_up();
  half_ = *place;
  if (!packet.payload.empty()) {
    std::memcpy(half_->data(), packet.payload.data(), packet.payload.size() / 2);
  }
  const Nanoseconds slow = net_.random_.below(100) == 0 ? 10 * kMillisecond : 40 * kMicrosecond;
  net_.loop(there_).after(net_.timeline_.upto(slow),
                          [self = shared_from_this()] { self->arrive(); });
}

void Link::end_frame() {
  const auto to = other_.lock();
  Packet& packet = queue_.front();
  const std::size_t half = packet.payload.size() / 2;
  if (packet.payload.size() > half) {
    std::memcpy(half_->data() + half, packet.payload.data() + half, packet.payload.size() - half);
  }
  half_.reset();
  const round::RelayFrame frame = packet.frame;
  if (packet.sent) net_.loop(here_).post(std::move(packet.sent));
  next();
  if (!to->sink_->took(*to, frame).ok()) to->give_up();
}

void Link::keep(std::size_t packets) {
  queue_.resize(std::min(queue_.size(), packets));
  for (Packet& packet : queue_) {
    packet.sent = nullptr;
    if (!packet.keeper && packet.payload.empty()) continue;
    packet.copy.assign(packet.payload.begin(), packet.payload.end());
    packet.payload = packet.copy;
    packet.keeper.reset();
  }
}

void Link::end(bool whole) {
  if (std::exchange(ended_, true)) return;
  told_ = true;
  sink_ = nullptr;
  const std::size_t sent = half_ ? 1 : 0;
  keep(whole ? queue_.size() : std::max<std::size_t>(sent, net_.random_.below(queue_.size() + 1)));
  move();
}

void Link::tell_closed() {
  broken_ = true;
  queue_.clear();
  if (ended_ || std::exchange(told_, true) || sink_ == nullptr) return;
  const auto self = shared_from_this();
  std::exchange(sink_, nullptr)->closed(*this);
}

// As TlsLink::Impl::end().
void Link::give_up() {
  const auto self = shared_from_this();
  Sink* const sink = sink_;
  end(false);
  if (sink != nullptr) sink->closed(*this);
}

std::shared_ptr<Link> Network::make(HostId from, HostId to) {
  const auto mine = std::make_shared<Link>(*this, from, to);
  const auto theirs = std::make_shared<Link>(*this, to, from);
  mine->other_ = theirs;
  theirs->other_ = mine;
  ends_.push_back(mine);
  ends_.push_back(theirs);
  const auto door = std::make_shared<Door>(*this, to, theirs);
  doors_[theirs.get()] = door;
  theirs->start(door.get());
  return mine;
}

void Network::connect(HostId from, HostId to, Nanoseconds limit, OnConnected done) {
  attempt(from, to, timeline_.now() + limit, std::move(done));
}

void Network::attempt(HostId from, HostId to, Nanoseconds until, OnConnected done) {
  const Nanoseconds time = 200 * kMicrosecond + timeline_.upto(3 * kMillisecond);
  loop(from).after(time, [this, from, to, until, done = std::move(done)] {
    const bool way = !blocked(from, to) && !blocked(to, from);
    if (way && nodes_.at(to).listens && !loop(to).still()) return done(make(from, to));
    if (timeline_.now() >= until) return done(nullptr);
    loop(from).after(kPause + timeline_.upto(kPause),
                     [this, from, to, until, done] { attempt(from, to, until, done); });
  });
}

void Network::probe(HostId from, HostId to, Nanoseconds limit, std::function<void(Probe)> found) {
  const Nanoseconds time = 100 * kMicrosecond + timeline_.upto(500 * kMicrosecond);
  loop(from).after(time, [this, from, to, limit, found = std::move(found)] {
    const bool way = !blocked(from, to) && !blocked(to, from);
    if (way) return found(nodes_.at(to).listens ? Probe::kListening : Probe::kClosed);
    if (limit <= 0) return found(Probe::kSilent);
    loop(from).after(kSecond, [=, this] { probe(from, to, limit - kSecond, found); });
  });
}

std::vector<std::shared_ptr<Link>> Network::ends(HostId here, HostId there) {
  std::erase_if(ends_, [](const auto& it) { return it.expired(); });
  std::vector<std::shared_ptr<Link>> out;
  for (const auto& it : ends_) {
    const auto link = it.lock();
    if (link->here_ == here && link->there_ == there) out.push_back(link);
  }
  return out;
}

void Network::block(HostId from, HostId to) {
  const std::uint64_t number = ++blocks_;
  if (!blocked_.emplace(std::pair(from, to), number).second) return;
  for (const auto& link : ends(to, from)) {
    if (!link->open()) continue;
    loop(to).after(kSilence + timeline_.upto(kSecond / 2), [this, link, from, to, number] {
      const auto found = blocked_.find({from, to});
      if (found == blocked_.end() || found->second != number || !link->open()) return;
      counts_.note("links fallen silent");
      link->give_up();
    });
  }
}

void Network::open(HostId from, HostId to) {
  blocked_.erase({from, to});
  for (const auto& link : ends(from, to)) {
    if (parked_.contains(link.get())) link->resume();
  }
}

bool Network::break_link(HostId a, HostId b) {
  auto all = ends(a, b);
  std::erase_if(all, [](const auto& link) {
    const auto other = link->other_.lock();
    return !link->open() || !other || !other->open();
  });
  if (all.empty()) return false;
  const auto mine = all[random_.below(all.size())];
  for (const auto& link : {mine, mine->other_.lock()}) {
    link->broken_ = true;
    link->queue_.clear();
    link->half_.reset();
    loop(link->here_)
        .after(timeline_.upto(random_.below(4) == 0 ? 2 * kSecond : kMillisecond),
               [link] { link->tell_closed(); });
  }
  return true;
}

void Network::end(HostId host, bool whole) {
  nodes_.at(host).listens = false;
  for (const auto& [other, node] : nodes_) {
    for (const auto& link : ends(host, other)) link->end(whole);
  }
}

void Network::vanish(HostId host) {
  vanished_.insert(host);
  for (const auto& [other, node] : nodes_) {
    if (other == host) continue;
    block(host, other);
    block(other, host);
  }
  nodes_.at(host).listens = false;
}

}  // namespace instep::sim
