#include "coord/hub_link.h"

#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "coord/host_frames.h"
#include "coord/peers.h"
#include "fabric/probe.h"
#include "fabric/tls_connect.h"
#include "member/lineup.h"

namespace instep::coord {
namespace {

constexpr std::int64_t kLookMs = 250;

// The one answer to an Enroll.
class Enrolling : public fabric::TlsLink::Sink, public std::enable_shared_from_this<Enrolling> {
 public:
  Enrolling(fabric::Request request, std::function<void(Result<Membership>)> joined)
      : request_(std::move(request)), joined_(std::move(joined)) {}

  void begin(std::shared_ptr<fabric::TlsLink> link, const wire::Enroll& enroll) {
    self_ = shared_from_this();
    link_ = std::move(link);
    link_->send({kMessageFrame, 0, 0, 0, 0}, wire::encode_host(enroll));
    link_->start(this);
  }

 private:
  Result<std::span<std::byte>> place(fabric::TlsLink& /*link*/,
                                     const fabric::FrameHead& head) override {
    if (head.kind != kMessageFrame || head.size > wire::kMaxHostMessageBytes) {
      return Error{ErrorKind::kCorrupt, "the coordinator answers with something else"};
    }
    answer_.resize(head.size);
    return std::span(answer_);
  }
  Status took(fabric::TlsLink& /*link*/, const fabric::FrameHead& /*head*/) override {
    auto message = wire::decode_host(answer_);
    if (!message.ok()) return end(message.error());
    if (auto* failed = std::get_if<wire::Failed>(&*message)) {
      return end(wire::error_of(std::move(*failed)));
    }
    auto* enrolled = std::get_if<wire::Enrolled>(&*message);
    if (enrolled == nullptr) {
      return end(Error{ErrorKind::kCorrupt, "the coordinator does not answer with a certificate"});
    }
    return end(
        Membership{enrolled->host, {enrolled->certificate, request_.key, enrolled->authority}});
  }
  void closed(fabric::TlsLink& /*link*/, const Error& why) override { (void)end(why); }

  Status end(Result<Membership> result) {
    const auto keep = std::exchange(self_, nullptr);
    if (keep == nullptr) return {};
    // A link ends in its loop's thread; who called enroll() in another may still hold this.
    const auto link = std::exchange(link_, nullptr);
    link->finish();
    joined_(std::move(result));
    return {};
  }

  const fabric::Request request_;
  const std::function<void(Result<Membership>)> joined_;
  std::shared_ptr<fabric::TlsLink> link_;
  std::shared_ptr<Enrolling> self_;  // until it is over
  std::vector<std::byte> answer_;
};

}  // namespace

void enroll(fabric::Loop& loop, const fabric::JoinLine& line, const std::string& name,
            std::int64_t limit_ms, const std::string& disbelief,
            const std::function<void(Result<Membership>)>& joined) {
  auto request = fabric::make_request();
  if (!request.ok()) return joined(request.error());
  wire::Enroll message;
  message.token = line.token;
  message.request = request->pem;
  message.version = kVersion;
  message.name = name;
  auto enrolling = std::make_shared<Enrolling>(request.take(), joined);
  fabric::connect_by_fingerprint(loop, {line.host, line.port}, line.authority,
                                 {limit_ms, "", {}, disbelief},
                                 [enrolling = std::move(enrolling), message,
                                  joined](Result<std::shared_ptr<fabric::TlsLink>> link) {
                                   if (!link.ok()) return joined(link.error());
                                   enrolling->begin(link.take(), message);
                                 });
}

HubLink::HubLink(fabric::Loop& loop, Plan plan, Handler handler)
    : loop_(loop), plan_(std::move(plan)), handler_(std::move(handler)) {
  connect(plan_.patience_ms);
}

HubLink::~HubLink() {
  *alive_ = false;
  close();
}

void HubLink::close() {
  over_ = true;
  if (const auto link = std::exchange(link_, nullptr)) link->finish();
}

void HubLink::connect(std::int64_t limit_ms) {
  fabric::connect(loop_, plan_.hub, plan_.me.identity,
                  {limit_ms, host_name(member::kFirstHost), {}, ""},
                  [this, alive = alive_](Result<std::shared_ptr<fabric::TlsLink>> link) {
                    if (!*alive || over_) return;
                    if (!link.ok()) return give_up(link.error().message);
                    link_ = link.take();
                    link_->start(this);
                    send(plan_.hello);
                    if (arrivals_) ask();
                  });
}

void HubLink::send(const wire::HostMessage& message) {
  // What is lost with the link is asked for again by the next line-up.
  if (link_) link_->send({kMessageFrame, 0, 0, 0, 0}, wire::encode_host(message));
}

Result<std::span<std::byte>> HubLink::place(fabric::TlsLink& /*link*/,
                                            const fabric::FrameHead& head) {
  if (head.kind == kPieceFrame) return place_piece(head);
  if (head.kind != kMessageFrame || head.size > wire::kMaxHostMessageBytes) {
    return Error{ErrorKind::kCorrupt, "the coordinator sent a frame of no known kind"};
  }
  message_.resize(head.size);
  return std::span(message_);
}

Status HubLink::took(fabric::TlsLink& /*link*/, const fabric::FrameHead& head) {
  if (head.kind == kPieceFrame) return took_piece(head);
  INSTEP_ASSIGN_OR_RETURN(const wire::HostMessage message, wire::decode_host(message_));
  if (std::holds_alternative<wire::Failed>(message) ||
      std::holds_alternative<wire::HostsEnd>(message)) {
    over_ = true;  // there is no coming back
  }
  handler_.hear(message);
  return {};
}

Result<std::span<std::byte>> HubLink::place_piece(const fabric::FrameHead& head) {
  if (!arrivals_) return Error{ErrorKind::kCorrupt, "the coordinator sent what nobody asked for"};
  auto place = arrivals_->place(head);
  if (!place.ok()) give_back(place.error());
  return place;
}

Status HubLink::took_piece(const fabric::FrameHead& head) {
  if (!arrivals_) return Error{ErrorKind::kCorrupt, "the coordinator sent what nobody asked for"};
  const auto before = arrivals_->wants();
  Status status = arrivals_->took(head);
  if (!status.ok()) {
    give_back(status.error());
    return status;
  }
  const auto next = arrivals_->wants();
  if (!next || next->goods != before->goods) ask();
  return {};
}

void HubLink::fetch(Arrivals arrivals) {
  arrivals_.emplace(std::move(arrivals));
  ask();
}

void HubLink::ask() {
  if (const auto wants = arrivals_->wants()) return send(*wants);
  Fd dataset = arrivals_->take_dataset();
  arrivals_.reset();
  handler_.arrived(std::move(dataset));
}

// What cannot be put away, or is not what was promised, will be no better the next time.
void HubLink::give_back(const Error& why) {
  over_ = true;
  arrivals_.reset();
  handler_.arrived(why);
}

void HubLink::closed(fabric::TlsLink& /*link*/, const Error& why) {
  link_.reset();
  if (over_) return;
  log(LogLevel::kWarning, cat("the coordinator is not heard any more: ", why.message));
  if (why.kind != ErrorKind::kUnavailable) return give_up(why.message);
  connect(plan_.patience_ms);
  look();
}

// Where nobody listens any more the coordinator has ended, and what it knew is gone with it. It may
// still be ending when the link breaks.
void HubLink::look() {
  fabric::probe(loop_, plan_.hub, plan_.patience_ms, [this, alive = alive_](fabric::Probe found) {
    if (!*alive || over_ || link_) return;
    if (found == fabric::Probe::kClosed) return give_up("the coordinator has ended");
    again_ = loop_.after(kLookMs, [this] { look(); });
  });
}

void HubLink::give_up(const std::string& why) {
  over_ = true;
  handler_.lost(why);
}

}  // namespace instep::coord
