#include "hub.h"

#include <utility>

#include "base/text.h"
#include "host.h"

namespace instep::sim {
namespace {

constexpr Nanoseconds kLinkPatience = 10 * kSecond;
constexpr Nanoseconds kLook = 20 * kMillisecond, kProbe = kSecond;
constexpr Nanoseconds kApart = kLook + 2 * kProbe;

}  // namespace

Hub::Hub(Loop& loop, Network& net, Bridge& bridge, Plan plan)
    : loop_(loop),
      net_(net),
      bridge_(bridge),
      plan_(std::move(plan)),
      state_(member::begin_hosts(plan_.rules)) {}

void Hub::begin() { happen(member::HostJoined{kFirstHost, "host-0", "", plan_.agents}); }

Link::Sink* Hub::first(const std::shared_ptr<Link>& link, const wire::HostMessage& message) {
  if (const auto* hello = std::get_if<wire::HostHello>(&message)) return welcome(link, *hello);
  return bridge_.take_peer(link->there(), link);
}

Link::Sink* Hub::welcome(const std::shared_ptr<Link>& link, const wire::HostHello& hello) {
  const HostId host = link->there();
  Guest& guest = guests_[host];
  if (guest.gone) {
    link->send(wire::failed_of({ErrorKind::kUnavailable, "the run goes on without this host"}));
    return nullptr;
  }
  if (guest.link) guest.link->close();
  guest.link = link;
  loop_.cancel(guest.patience);
  if (std::exchange(guest.known, true)) {
    happen(member::HostBroken{host});
    return this;
  }
  wire::HostWelcome welcome;
  welcome.begun = state_.phase != member::HostsPhase::kGathering;
  send(host, welcome);
  happen(member::HostJoined{host, cat("host-", host), "", hello.agents});
  return this;
}

Result<std::span<std::byte>> Hub::place(Link& /*link*/, const round::RelayFrame& /*frame*/) {
  throw Violation("the hub gets a frame of a relay");
}
Status Hub::took(Link& /*link*/, const round::RelayFrame& /*frame*/) { return {}; }

void Hub::hear(Link& link, const wire::HostMessage& message) {
  if (guests_.at(link.there()).link.get() == &link) hear(link.there(), message);
}

void Hub::closed(Link& link) {
  const HostId host = link.there();
  Guest& guest = guests_.at(host);
  if (guest.link.get() != &link) return;
  guest.link.reset();
  if (guest.gone || state_.phase == member::HostsPhase::kOver) return;
  if (!state_.gone_on) return lose(host, "its link broke");
  look_for(host, "its link broke", {kLinkPatience, kApart, loop_.timeline().now()});
}

void Hub::look_for(HostId host, const std::string& why, member::Patience patience) {
  if (patience.over(loop_.timeline().now())) return lose(host, why);
  net_.probe(kFirstHost, host, kProbe, [this, host, why, patience](Network::Probe found) {
    Guest& guest = guests_.at(host);
    if (guest.link || guest.gone) return;
    if (found == Network::Probe::kClosed) return lose(host, why);
    guest.patience =
        loop_.after(kLook, [this, host, why, patience] { look_for(host, why, patience); });
  });
}

void Hub::lose(HostId host, const std::string& why) {
  Guest& guest = guests_.at(host);
  if (guest.gone || guest.link) return;
  guest.gone = true;
  loop_.cancel(guest.patience);
  plan_.lost(host, why);
  happen(member::HostLost{host, why});
}

void Hub::hear(HostId host, const wire::HostMessage& message) {
  if (const auto* ready = std::get_if<wire::HostReady>(&message)) {
    happen(member::HostIsReady{host,
                               {ready->job_hash, ready->state_hash, ready->first_round,
                                ready->shards, ready->blocks, ready->fingerprint}});
  } else if (const auto* stands = std::get_if<wire::HostStands>(&message)) {
    happen(member::HostStands{host, stands->number, stands->done, stands->empty});
    const HostId last = state_.hosts.rbegin()->first;
    if (plan_.plant == Plant::kNoStands && host != last) {
      happen(member::HostStands{last, stands->number, stands->done, false});
    }
  } else if (const auto* it = std::get_if<wire::HostTook>(&message)) {
    happen(member::HostTook{host, it->number});
  } else if (std::holds_alternative<wire::HostBroken>(message)) {
    happen(member::HostBroken{host});
  } else if (const auto* lacks = std::get_if<wire::HostLacks>(&message)) {
    happen(member::HostLacks{host, lacks->number, lacks->peers});
  } else if (std::holds_alternative<wire::HostLeaves>(message)) {
    if (host != kFirstHost) guests_.at(host).gone = true;
    happen(member::HostLeaves{host});
  } else if (std::holds_alternative<wire::HostDone>(message)) {
    happen(member::HostDone{host});
  } else if (std::holds_alternative<wire::HostStops>(message) && host == kFirstHost) {
    happen(member::RunStops{});
  } else {
    throw Violation(cat("host ", host, " says what no host may say"));
  }
}

void Hub::send(HostId host, const wire::HostMessage& message) {
  if (host == kFirstHost) return loop_.post([this, message] { bridge_.hear(message); });
  const auto found = guests_.find(host);
  if (found != guests_.end() && found->second.link) found->second.link->send(message);
}

void Hub::refuse(HostId host, const Error& why) {
  if (host == kFirstHost) return send(host, wire::failed_of(why));
  Guest& guest = guests_.at(host);
  send(host, wire::failed_of(why));
  guest.gone = true;
  if (const auto link = std::exchange(guest.link, nullptr)) link->finish();
}

void Hub::happen(member::HostsEvent event) {
  member::HostsDecision decision =
      member::decide_hosts(std::move(state_), std::move(event), loop_.timeline().now());
  state_ = std::move(decision.state);
  for (const member::HostsAction& action : decision.actions) act(action);
  set_timer();
}

void Hub::set_timer() {
  loop_.cancel(timer_);
  const auto due = member::next_deadline(state_);
  if (!due) return;
  const Nanoseconds left = std::max<Nanoseconds>(0, *due - loop_.timeline().now());
  timer_ = loop_.after(left + kMillisecond, [this] { happen(member::TimePassed{}); });
}

void Hub::act(const member::HostsAction& action) {
  plan_.acts(action);
  if (const auto* begin = std::get_if<member::Begin>(&action)) {
    wire::HostsBegin message;
    for (const member::HostEntry& it : begin->hosts) {
      message.ids.push_back(it.host);
      message.names.push_back(it.name);
      message.addresses.push_back(it.address);
    }
    for (const HostId host : message.ids) send(host, message);
  } else if (const auto* lineup = std::get_if<member::TellLineup>(&action)) {
    const wire::HostsLineup message = member::to_message(lineup->lineup);
    for (const HostId host : message.ids) send(host, message);
  } else if (const auto* go = std::get_if<member::Go>(&action)) {
    for (const HostId host : go->to) send(host, wire::HostsGo{go->number});
  } else if (const auto* halt = std::get_if<member::Halt>(&action)) {
    wire::HostsHalt message{halt->number, {}};
    if (halt->lost) message.lost.push_back(*halt->lost);
    for (const HostId host : halt->to) send(host, message);
  } else if (const auto* ask = std::get_if<member::AskLinks>(&action)) {
    for (const HostId host : ask->to) send(host, wire::HostsAsk{ask->number});
  } else if (const auto* wait = std::get_if<member::Wait>(&action)) {
    const auto ms = static_cast<std::uint64_t>(wait->limit / kMillisecond);
    for (const HostId host : wait->to) send(host, wire::HostsWait{wait->agents, wait->least, ms});
  } else if (const auto* up = std::get_if<member::GiveUp>(&action)) {
    for (const HostId host : up->to) send(host, wire::HostsGiveUp{up->why.message});
  } else if (const auto* it = std::get_if<member::Refuse>(&action)) {
    refuse(it->host, {ErrorKind::kUnavailable, it->why});
  } else if (const auto* over = std::get_if<member::EndRun>(&action)) {
    wire::HostMessage message = wire::HostsEnd{};
    if (over->error) message = wire::failed_of(*over->error);
    send(kFirstHost, message);
    for (const auto& [host, guest] : guests_) send(host, message);
  }
}

}  // namespace instep::sim
