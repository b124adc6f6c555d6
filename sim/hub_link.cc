#include <utility>

#include "base/text.h"
#include "host.h"
#include "hub.h"

namespace instep::sim {
namespace {

constexpr Nanoseconds kPatience = 10 * kSecond;
constexpr Nanoseconds kLook = 250 * kMillisecond;

}  // namespace

HubLink::HubLink(Loop& loop, Network& net, HostId me, std::uint32_t agents, Handler handler)
    : loop_(loop), net_(net), me_(me), agents_(agents), handler_(std::move(handler)) {
  connect();
}

void HubLink::close() {
  over_ = true;
  if (const auto link = std::exchange(link_, nullptr)) link->finish();
}

void HubLink::connect() {
  net_.connect(me_, kFirstHost, kPatience, [this](std::shared_ptr<Link> link) {
    if (over_) {
      if (link) link->close();
      return;
    }
    if (!link) return give_up("the coordinator cannot be reached");
    link_ = std::move(link);
    link_->start(this);
    wire::HostHello hello;
    hello.name = cat("host-", me_);
    hello.agents = agents_;
    send(hello);
  });
}

void HubLink::send(const wire::HostMessage& message) {
  if (link_) link_->send(message);
}

Result<std::span<std::byte>> HubLink::place(Link& /*link*/, const round::RelayFrame& /*frame*/) {
  throw Violation("the hub sends a frame of a relay");
}
Status HubLink::took(Link& /*link*/, const round::RelayFrame& /*frame*/) { return {}; }

void HubLink::hear(Link& /*link*/, const wire::HostMessage& message) {
  if (std::holds_alternative<wire::Failed>(message)) over_ = true;
  handler_.hear(message);
}

void HubLink::closed(Link& link) {
  if (link_.get() != &link) return;
  link_.reset();
  if (over_) return;
  connect();
  look();
}

void HubLink::look() {
  net_.probe(me_, kFirstHost, kPatience, [this](Network::Probe found) {
    if (over_ || link_) return;
    if (found == Network::Probe::kClosed) return give_up("the coordinator has ended");
    loop_.after(kLook, [this] { look(); });
  });
}

void HubLink::give_up(const std::string& why) {
  if (std::exchange(over_, true)) return;
  handler_.lost(why);
}

}  // namespace instep::sim
