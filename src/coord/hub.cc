#include "coord/hub.h"

#include <ctime>

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "base/version.h"
#include "coord/host_frames.h"
#include "coord/peers.h"

namespace instep::coord {
namespace {

using member::kFirstHost;  // the hub's own
// For a host whose link broke, but whose machine is there, to make it again.
constexpr std::int64_t kLinkPatienceMs = 10'000;
constexpr std::int64_t kLookMs = 20, kProbeMs = 1000;
// From one look to the next, and more than that only where this process stood still.
constexpr std::int64_t kApartMs = kLookMs + 2 * kProbeMs;

// A name from outside as a terminal may show it.
std::string plain(const std::string& name) {
  constexpr std::size_t kMost = 64;
  std::string out = name.substr(0, kMost);
  for (char& c : out) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '-' || c == '_';
    if (!good) c = '?';
  }
  return out;
}

}  // namespace

Hub::Hub(fabric::Loop& loop, Plan plan, fabric::Authority authority, fabric::TokenBook tokens,
         Audit audit)
    : loop_(loop),
      plan_(std::move(plan)),
      authority_(std::move(authority)),
      tokens_(std::move(tokens)),
      audit_(std::move(audit)),
      state_(member::begin_hosts(plan_.rules)) {}

Hub::~Hub() = default;

void Hub::use(Bridge& bridge) {
  bridge_ = &bridge;
  note({"", "listening", kFirstHost, plan_.name, plan_.address, plan_.warning});
  happen(member::HostJoined{kFirstHost, plan_.name, plan_.address, plan_.agents});
}

void Hub::note(AuditEvent event) {
  if (const Status status = audit_.add(std::move(event), monotonic_ns()); !status.ok()) {
    log(LogLevel::kWarning, status.error().message);
  }
}

void Hub::turned_away(const std::string& address, const Error& why) {
  // What links say of themselves begins with their address.
  const std::string prefix = cat(address, ": ");
  const bool named = why.message.starts_with(prefix);
  note({"", "turned away", std::nullopt, "", address,
        why.message.substr(named ? prefix.size() : 0)});
}

fabric::TlsLink::Sink* Hub::first(const Door::Link& link, const wire::HostMessage& message) {
  if (link->peer().empty()) {
    const auto* enroll = std::get_if<wire::Enroll>(&message);
    if (enroll == nullptr) {
      turned_away(link->address(), invalid("it has no certificate, and does not ask for one"));
      return nullptr;
    }
    link->send({kMessageFrame, 0, 0, 0, 0}, wire::encode_host(let_in(link, *enroll)));
    return nullptr;
  }
  if (const auto* hello = std::get_if<wire::HostHello>(&message)) return welcome(link, *hello);
  const auto host = host_of(link->peer());
  if (!host.ok() || !std::holds_alternative<wire::PeerHello>(message)) {
    turned_away(link->address(), invalid("its first message is none"));
    return nullptr;
  }
  return bridge_->take_peer(*host, link);
}

wire::HostMessage Hub::let_in(const Door::Link& link, const wire::Enroll& enroll) {
  const auto no = [&](const Error& why) {
    note({"", "refused", std::nullopt, plain(enroll.name), link->address(), why.message});
    return wire::failed_of(why);
  };
  if (enroll.protocol != wire::kHostProtocol || enroll.version != kVersion) {
    return no({ErrorKind::kMismatch, cat("this run is trained by instep ", kVersion,
                                         ", and the host that wants to join "
                                         "has instep ",
                                         enroll.version, "; install the same one on all hosts")});
  }
  const auto answer = tokens_.take(enroll.token, std::time(nullptr));
  if (!answer.ok()) return no(answer.error());
  if (const Status status = fabric::to_status(*answer); !status.ok()) return no(status.error());
  const std::uint32_t host = next_host_++;
  auto certificate = authority_.sign(enroll.request, host_name(host));
  if (!certificate.ok()) return no(certificate.error());
  note(
      {"", "enrolled", host, plain(enroll.name), link->address(), cat("token ", answer->token.id)});
  return wire::Enrolled{host, certificate.take(), authority_.certificate()};
}

fabric::TlsLink::Sink* Hub::welcome(const Door::Link& link, const wire::HostHello& hello) {
  const auto host = host_of(link->peer());
  if (!host.ok() || *host == kFirstHost || hello.protocol != wire::kHostProtocol) {
    turned_away(link->address(), invalid("it is no host of this run"));
    return nullptr;
  }
  Guest& guest = guests_[*host];
  if (guest.gone) {
    link->send({kMessageFrame, 0, 0, 0, 0},
               wire::encode_host(wire::failed_of(
                   {ErrorKind::kUnavailable, "the run goes on without this host"})));
    return nullptr;
  }
  const bool again = !guest.address.empty();
  if (guest.link) guest.link->close();
  guest.link = link;
  guest.wants.reset();
  guest.patience.cancel();
  if (again) {
    note({"", "came back", *host, guest.name, link->address(), ""});
    happen(member::HostBroken{*host});
    return this;
  }
  guest.name = hello.name.empty() ? host_name(*host) : plain(hello.name);
  fabric::Address address{hello.address, hello.port};
  if (address.host.empty()) {
    const auto seen = fabric::parse_address(link->address(), 0);
    if (seen.ok()) address.host = seen->host;
  }
  guest.address = fabric::to_text(address);
  note({"", "joined", *host, guest.name, guest.address, cat(hello.agents, " agents")});
  send(*host, wire::HostWelcome{
                  plan_.run, plan_.job_json, plan_.job_toml, plan_.files, plan_.has_dataset,
                  plan_.rules.first_holds || state_.phase != member::HostsPhase::kGathering});
  bridge_->say(HostCame{guest.name, hello.agents, *host});
  happen(member::HostJoined{*host, guest.name, guest.address, hello.agents});
  return this;
}

Hub::Guest* Hub::guest_of(const fabric::TlsLink& link, std::uint32_t& host) {
  for (auto& [id, guest] : guests_) {
    if (guest.link.get() != &link) continue;
    host = id;
    return &guest;
  }
  return nullptr;
}

Result<std::span<std::byte>> Hub::place(fabric::TlsLink& link, const fabric::FrameHead& head) {
  std::uint32_t host = 0;
  Guest* const guest = guest_of(link, host);
  if (guest == nullptr || head.kind != kMessageFrame ||
      head.size > wire::kMaxFirstMessageBytes * 16) {
    return Error{ErrorKind::kCorrupt, "a frame that no host sends"};
  }
  guest->message.resize(head.size);
  return std::span(guest->message);
}

Status Hub::took(fabric::TlsLink& link, const fabric::FrameHead& /*head*/) {
  std::uint32_t host = 0;
  const Guest* const guest = guest_of(link, host);
  if (guest == nullptr) return Error{ErrorKind::kCorrupt, "a frame that no host sends"};
  INSTEP_ASSIGN_OR_RETURN(const wire::HostMessage message, wire::decode_host(guest->message));
  hear(host, message);
  return {};
}

// A link that breaks says nothing of the host yet.
void Hub::closed(fabric::TlsLink& link, const Error& why) {
  std::uint32_t host = 0;
  Guest* const guest = guest_of(link, host);
  if (guest == nullptr) return;
  guest->link.reset();
  if (guest->gone || state_.phase == member::HostsPhase::kOver) return;
  if (!state_.gone_on) return lose(host, why.message);
  look_for(host, why.message,
           {kLinkPatienceMs * kMillisecond, kApartMs * kMillisecond, monotonic_ns()});
}

// One whose port is closed has ended. It may have been ending still when its link broke, so one
// look is not enough.
void Hub::look_for(std::uint32_t host, const std::string& why, member::Patience patience) {
  const auto address = fabric::parse_address(guests_.at(host).address, 0);
  if (!address.ok() || patience.over(monotonic_ns())) return lose(host, why);
  fabric::probe(loop_, *address, kProbeMs, [this, host, why, patience](fabric::Probe found) {
    Guest& guest = guests_.at(host);
    if (guest.link || guest.gone) return;
    if (found == fabric::Probe::kClosed) return lose(host, why);
    guest.patience =
        loop_.after(kLookMs, [this, host, why, patience] { look_for(host, why, patience); });
  });
}

void Hub::lose(std::uint32_t host, const std::string& why) {
  Guest& guest = guests_.at(host);
  if (guest.gone || guest.link) return;
  guest.gone = true;
  guest.patience.cancel();
  note({"", "lost", host, guest.name, guest.address, why});
  happen(member::HostLost{host, why});
  bridge_->say(HostWent{host});
}

void Hub::hear(std::uint32_t host, const wire::HostMessage& message) {
  if (const auto* ready = std::get_if<wire::HostReady>(&message)) {
    happen(member::HostIsReady{host,
                               {ready->job_hash, ready->state_hash, ready->first_round,
                                ready->shards, ready->blocks, ready->fingerprint}});
  } else if (const auto* stands = std::get_if<wire::HostStands>(&message)) {
    happen(member::HostStands{host, stands->number, stands->done, stands->empty});
  } else if (const auto* it = std::get_if<wire::HostTook>(&message)) {
    happen(member::HostTook{host, it->number});
  } else if (std::holds_alternative<wire::HostBroken>(message)) {
    happen(member::HostBroken{host});
  } else if (const auto* lacks = std::get_if<wire::HostLacks>(&message)) {
    happen(member::HostLacks{host, lacks->number, lacks->peers});
  } else if (const auto* measured = std::get_if<wire::HostMeasured>(&message)) {
    happen(member::HostMeasured{host, measured->number, member::from_message(*measured)});
  } else if (std::holds_alternative<wire::HostLeaves>(message)) {
    if (host != kFirstHost) {
      guests_.at(host).gone = true;
      note({"", "left", host, guests_.at(host).name, guests_.at(host).address, ""});
    }
    happen(member::HostLeaves{host});
  } else if (std::holds_alternative<wire::HostDone>(message)) {
    happen(member::HostDone{host});
  } else if (std::holds_alternative<wire::HostStops>(message)) {
    host == kFirstHost ? happen(member::RunStops{})
                       : bridge_->say(StopWanted{guests_.at(host).name});
  } else if (const auto* wants = std::get_if<wire::HostWants>(&message);
             wants != nullptr && host != kFirstHost) {
    hear_wish(host, *wants);
  } else if (host != kFirstHost) {
    turn_out(host, {ErrorKind::kCorrupt, "it says what no host may say"});
  }
}

void Hub::send(std::uint32_t host, const wire::HostMessage& message) {
  // Not at once: the bridge may be the one that is speaking.
  if (host == kFirstHost) return loop_.post([this, message] { bridge_->hear(message); });
  const auto found = guests_.find(host);
  if (found == guests_.end() || !found->second.link) return;
  found->second.link->send({kMessageFrame, 0, 0, 0, 0}, wire::encode_host(message));
}

void Hub::refuse(std::uint32_t host, const Error& why) {
  if (host == kFirstHost) return send(host, wire::failed_of(why));
  Guest& guest = guests_.at(host);
  note({"", "refused", host, guest.name, guest.address, why.message});
  send(host, wire::failed_of(why));
  guest.gone = true;
  if (const auto link = std::exchange(guest.link, nullptr)) link->finish();
}

// Whom the others may be waiting for.
void Hub::turn_out(std::uint32_t host, const Error& why) {
  if (guests_.at(host).gone) return;
  refuse(host, why);
  happen(member::HostLost{host, why.message});
  bridge_->say(HostWent{host});
}

void Hub::happen(member::HostsEvent event) {
  member::HostsDecision decision =
      member::decide_hosts(std::move(state_), std::move(event), monotonic_ns());
  state_ = std::move(decision.state);
  for (const member::HostsAction& action : decision.actions) act(action);
  set_timer();
}

void Hub::set_timer() {
  const auto due = member::next_deadline(state_);
  if (!due) return timer_.cancel();
  const std::int64_t ms = std::max<std::int64_t>(0, (*due - monotonic_ns()) / kMillisecond + 1);
  timer_ = loop_.after(ms, [this] { happen(member::TimePassed{}); });
}

void Hub::act(const member::HostsAction& action) {
  if (const auto* begin = std::get_if<member::Begin>(&action)) {
    act(*begin);
  } else if (const auto* lineup = std::get_if<member::TellLineup>(&action)) {
    act(*lineup);
  } else if (const auto* go = std::get_if<member::Go>(&action)) {
    for (const std::uint32_t host : go->to) send(host, wire::HostsGo{go->number});
    if (std::exchange(waits_, false)) note({"", "went on", std::nullopt, "", "", ""});
  } else if (const auto* halt = std::get_if<member::Halt>(&action)) {
    wire::HostsHalt message{halt->number, {}};
    if (halt->lost) message.lost.push_back(*halt->lost);
    for (const std::uint32_t host : halt->to) send(host, message);
  } else if (const auto* ask = std::get_if<member::AskLinks>(&action)) {
    for (const std::uint32_t host : ask->to) send(host, wire::HostsAsk{ask->number});
  } else if (const auto* wait = std::get_if<member::Wait>(&action)) {
    act(*wait);
  } else if (const auto* up = std::get_if<member::GiveUp>(&action)) {
    act(*up);
  } else if (const auto* it = std::get_if<member::Refuse>(&action)) {
    refuse(it->host, {ErrorKind::kUnavailable, it->why});
  } else if (const auto* news = std::get_if<member::Tell>(&action)) {
    bridge_->say(BridgeNote{news->text});
  } else {
    act(std::get<member::EndRun>(action));
  }
}

void Hub::act(const member::Begin& action) {
  wire::HostsBegin message;
  for (const member::HostEntry& it : action.hosts) {
    message.ids.push_back(it.host);
    message.names.push_back(it.name);
    message.addresses.push_back(it.address);
  }
  for (const member::HostEntry& it : action.hosts) send(it.host, message);
}

void Hub::act(const member::TellLineup& action) {
  const wire::HostsLineup message = member::to_message(action.lineup);
  for (const std::uint32_t host : message.ids) send(host, message);
}

void Hub::act(const member::Wait& action) {
  const auto ms = static_cast<std::uint64_t>(action.limit / kMillisecond);
  for (const std::uint32_t host : action.to) {
    send(host, wire::HostsWait{action.agents, action.least, ms});
  }
  waits_ = true;
  note({"", "waiting", std::nullopt, "", "",
        cat(action.agents, " of at least ", action.least, " agents are there")});
}

void Hub::act(const member::GiveUp& action) {
  for (const std::uint32_t host : action.to) send(host, wire::HostsGiveUp{action.why.message});
  waits_ = false;
  note({"", "gave up", std::nullopt, "", "", action.why.message});
}

void Hub::act(const member::EndRun& action) {
  wire::HostMessage message = wire::HostsEnd{};
  if (action.error) message = wire::failed_of(*action.error);
  send(kFirstHost, message);
  for (const auto& [host, guest] : guests_) send(host, message);
  note({"", action.error ? "failed" : "done", std::nullopt, "", "",
        action.error ? action.error->message : ""});
}

}  // namespace instep::coord
