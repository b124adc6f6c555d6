#include "coord/joined_host.h"

#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <future>

#include "base/log.h"
#include "base/text.h"
#include "coord/peers.h"
#include "round/coding.h"

namespace instep::coord {
namespace {

template <class T>
using Answer = std::promise<Result<T>>;

}  // namespace

// A UDP socket that is connected sends nothing, and says which address it would send from.
Result<std::string> address_towards(const fabric::Address& other) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(other.host.c_str(), std::to_string(other.port).c_str(), &wanted, &found);
  if (error != 0) {
    return Error{ErrorKind::kNotFound,
                 cat("cannot find the address of ", other.host, ": ", ::gai_strerror(error))};
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);
  const Fd socket(::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage mine{};
  socklen_t size = sizeof mine;
  char host[NI_MAXHOST] = {};
  if (!socket.valid() || ::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&mine), &size) != 0) {
    return os_error("find the way to", other.host, errno);
  }
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&mine), size, host, sizeof host, nullptr, 0,
                    NI_NUMERICHOST) != 0) {
    return Error{ErrorKind::kUnavailable, cat("cannot find the way to ", other.host)};
  }
  return std::string(host);
}

JoinedHost::JoinedHost(Plan plan) : plan_(std::move(plan)) {}

JoinedHost::~JoinedHost() {
  loop_.post([this] {
    if (hub_) hub_->close();
    loop_.post([this] { loop_.stop(); });  // behind the link's last words
  });
  loop_.join();
}

Result<std::unique_ptr<JoinedHost>> JoinedHost::join(Plan plan) {
  std::unique_ptr<JoinedHost> host(new JoinedHost(std::move(plan)));
  host->loop_.start();
  INSTEP_ASSIGN_OR_RETURN(host->me_, host->enrolled());
  INSTEP_RETURN_IF_ERROR(host->open());
  INSTEP_RETURN_IF_ERROR(host->welcomed());
  return host;
}

Result<Membership> JoinedHost::enrolled() {
  Answer<Membership> answer;
  enroll(loop_, plan_.line, plan_.name, plan_.meet_ms, plan_.disbelief,
         [&answer](Result<Membership> joined) { answer.set_value(std::move(joined)); });
  return answer.get_future().get();
}

Status JoinedHost::open() {
  fabric::Address listen;
  if (plan_.listen) {
    listen = *plan_.listen;
  } else {
    INSTEP_ASSIGN_OR_RETURN(listen.host, address_towards({plan_.line.host, plan_.line.port}));
  }
  Answer<std::unique_ptr<fabric::TlsListener>> answer;
  loop_.post([&] {
    door_ = std::make_unique<Door>(
        [this](const Door::Link& link, const wire::HostMessage& message) {
          return first(link, message);
        },
        [](const std::string& address, const Error& why) {
          log(LogLevel::kWarning, cat("turned away ", address, ": ", why.message));
        });
    answer.set_value(fabric::TlsListener::start(
        loop_, listen, me_.identity, {},
        [this](std::shared_ptr<fabric::TlsLink> link) { door_->take(std::move(link)); }));
  });
  INSTEP_ASSIGN_OR_RETURN(listener_, answer.get_future().get());
  return {};
}

fabric::TlsLink::Sink* JoinedHost::first(const Door::Link& link, const wire::HostMessage& message) {
  const auto peer = host_of(link->peer());
  if (!peer.ok() || !bridge_ || !std::holds_alternative<wire::PeerHello>(message)) return nullptr;
  return bridge_->take_peer(*peer, link);
}

Status JoinedHost::welcomed() {
  std::promise<Status> answer;
  loop_.post([&] {
    on_welcome_ = [&answer](Status status) { answer.set_value(std::move(status)); };
    HubLink::Plan link;
    link.hub = {plan_.line.host, plan_.line.port};
    link.me = me_;
    link.hello.name = plan_.name;
    link.hello.agents = plan_.agents;
    if (plan_.listen) link.hello.address = plan_.listen->host;
    link.hello.port = listener_->port();
    link.patience_ms = plan_.patience_ms;
    hub_ = std::make_unique<HubLink>(
        loop_, std::move(link),
        HubLink::Handler{[this](const wire::HostMessage& message) { hear(message); },
                         [this](Result<Fd> data) {
                           data.ok() ? bridge_->say(DataCame{data.take()})
                                     : bridge_->say(BridgeFailed{data.error()});
                         },
                         [this](const std::string& why) {
                           if (const auto waits = std::exchange(on_welcome_, nullptr)) {
                             waits(Error{ErrorKind::kUnavailable, why});
                           } else {
                             bridge_->lose_hub(why);
                           }
                         }});
  });
  return answer.get_future().get();
}

void JoinedHost::hear(const wire::HostMessage& message) {
  if (bridge_) return bridge_->hear(message);
  const auto answer = std::exchange(on_welcome_, nullptr);
  if (!answer) return;
  if (const auto* failed = std::get_if<wire::Failed>(&message)) {
    return answer(wire::error_of(*failed));
  }
  const auto* welcome = std::get_if<wire::HostWelcome>(&message);
  if (welcome == nullptr) {
    return answer(Error{ErrorKind::kCorrupt, "the coordinator does not say what the job is"});
  }
  welcome_ = *welcome;
  auto job = job::from_json(welcome_.job_json);
  if (!job.ok()) return answer(job.error());
  job_ = job.take();
  if (const Status good = check_job_files(job_, welcome_.files); !good.ok()) return answer(good);
  Bridge::Plan plan;
  plan.host = me_.host;
  plan.identity = me_.identity;
  plan.coding = round::coding_of(job_);
  plan.full_samples = round::full_samples(job_);
  plan.compression = compression_of(job_);
  plan.late = welcome_.begun;
  plan.tell_hub = [this](const wire::HostMessage& word) { hub_->send(word); };
  plan.first_host = fabric::Address{plan_.line.host, plan_.line.port};
  auto bridge = Bridge::make(loop_, std::move(plan));
  if (!bridge.ok()) return answer(bridge.error());
  bridge_ = bridge.take();
  answer({});
}

LocalFiles JoinedHost::fetch(const std::filesystem::path& run_dir) {
  loop_.post(
      [this, run_dir] { hub_->fetch(Arrivals(run_dir, welcome_.files, welcome_.has_dataset)); });
  return local_files(run_dir, welcome_.files);
}

}  // namespace instep::coord
