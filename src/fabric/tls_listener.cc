#include "fabric/tls_listener.h"

#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "fabric/tls_link_impl.h"

namespace instep::fabric {
namespace {

using asio::ip::tcp;

// After a failed accept, mostly for want of descriptors.
constexpr std::int64_t kAgainMs = 100;
// Between two lines about connections that were turned away, of which there may be any number.
constexpr std::int64_t kNoteNs = kSecond;

Result<tcp::endpoint> endpoint_of(Loop& loop, const Address& address) {
  asio::error_code failed;
  const auto number = asio::ip::make_address(address.host, failed);
  if (!failed) return tcp::endpoint(number, address.port);
  tcp::resolver resolver(loop.state().io);
  const auto found = resolver.resolve(address.host, "", tcp::resolver::passive, failed);
  if (failed || found.empty()) {
    return invalid(cat("cannot listen on ", to_text(address), ": '", address.host,
                       "' is no name of a machine (", failed.message(),
                       "); give one of this machine's addresses, or 0.0.0.0 for all of them"));
  }
  return tcp::endpoint(found.begin()->endpoint().address(), address.port);
}

Error cannot_listen(const Address& address, const asio::error_code& why) {
  const std::string head = cat("cannot listen on ", to_text(address), ": ");
  if (why == asio::error::address_in_use) {
    return {
        ErrorKind::kTaken,
        cat(head, "another program has that port; give another one, or 0 for any that is free")};
  }
  if (why.value() == EADDRNOTAVAIL) {
    return invalid(cat(head,
                       "this machine has no such address; give one that `ip address` shows, or "
                       "0.0.0.0 for all of them"));
  }
  if (why == asio::error::access_denied) {
    return invalid(cat(head, "only root may use ports below 1024; give a higher one"));
  }
  return {ErrorKind::kInternal, cat(head, why.message())};
}

}  // namespace

class TlsListener::Impl : public std::enable_shared_from_this<TlsListener::Impl> {
 public:
  Impl(Loop& loop, std::shared_ptr<TlsContext> context, ListenOptions options, OnAccept on_accept)
      : loop_(loop),
        context_(std::move(context)),
        options_(options),
        on_accept_(std::move(on_accept)),
        acceptor_(loop.state().io) {}

  Status listen(const Address& address) {
    INSTEP_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, endpoint_of(loop_, address));
    protocol_ = endpoint.protocol();
    asio::error_code failed;
    open_socket(acceptor_, endpoint.protocol(), failed);
    if (!failed) failed = acceptor_.set_option(tcp::acceptor::reuse_address(true), failed);
    if (!failed && endpoint.address().is_v6()) {
      failed = acceptor_.set_option(asio::ip::v6_only(false), failed);
    }
    if (!failed) failed = acceptor_.native_non_blocking(true, failed);
    if (!failed) failed = acceptor_.bind(endpoint, failed);
    if (!failed) failed = acceptor_.listen(asio::socket_base::max_listen_connections, failed);
    if (!failed) port_ = acceptor_.local_endpoint(failed).port();
    if (failed) return cannot_listen(address, failed);
    return {};
  }

  void accept() {
    if (!acceptor_.is_open()) return;
    acceptor_.async_wait(
        tcp::acceptor::wait_read,
        [self = shared_from_this()](const asio::error_code&) { self->accept_all(); });
  }

  void close() {
    INSTEP_CHECK(loop_.here(), "a listener is closed in its loop's thread");
    close_socket(acceptor_);
    again_.cancel();
    for (const auto& weak : unproved_) {
      const auto link = weak.lock();
      if (link && !link->is_open()) link->close();
    }
  }

  std::uint16_t port() const { return port_; }

 private:
  // Not by asio, whose sockets would be inherited by programs that are started (open_socket()).
  void accept_all() {
    while (acceptor_.is_open()) {
      Fd fd(::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fd.valid()) {
        admit(std::move(fd));
      } else if (errno == EAGAIN) {
        return accept();
      } else if (errno != EINTR && errno != ECONNABORTED) {
        return rest(errno);
      }
    }
  }

  void rest(int error_number) {
    log(LogLevel::kWarning, cat("cannot accept a connection: ", std::strerror(error_number)));
    again_ = loop_.after(kAgainMs, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->accept();
    });
  }

  void admit(Fd fd) {
    make_room();
    tcp::socket socket(loop_.state().io);
    asio::error_code failed;
    failed = socket.assign(protocol_, fd.get(), failed);
    if (failed) return;
    (void)fd.release();
    const auto link =
        std::make_shared<TlsLink::Impl>(loop_, std::move(socket), context_, options_.limits);
    unproved_.push_back(link);
    link->open([self = weak_from_this(), weak = std::weak_ptr(link)](const Status& status) {
      const auto listener = self.lock();
      const auto opened = weak.lock();
      if (!listener || !opened) return;
      if (!status.ok()) return listener->note_turned_away(status.error().message);
      if (!opened->is_proved()) opened->limit_unproved();
      listener->on_accept_(std::make_shared<TlsLink>(opened));
    });
  }

  void note_turned_away(const std::string& why) {
    ++turned_away_;
    const std::int64_t now = monotonic_ns();
    if (noted_ns_ != 0 && now < noted_ns_ + kNoteNs) return;
    noted_ns_ = now;
    const std::uint64_t others = std::exchange(turned_away_, 0) - 1;
    log(LogLevel::kInfo,
        cat("a connection was turned away: ", why,
            others == 0 ? "" : cat(" (and before it ", others, " of which nothing was said)")));
  }

  void make_room() {
    std::erase_if(unproved_, [](const std::weak_ptr<TlsLink::Impl>& weak) {
      const auto link = weak.lock();
      return !link || link->is_closed() || link->is_proved();
    });
    while (unproved_.size() >= options_.most_unproved) {
      const auto oldest = unproved_.front().lock();
      unproved_.pop_front();
      if (oldest) {
        oldest->end({ErrorKind::kUnavailable,
                     "it made way for a newer connection before it had shown who it is"});
      }
    }
  }

  Loop& loop_;
  std::shared_ptr<TlsContext> context_;
  ListenOptions options_;
  OnAccept on_accept_;
  tcp::acceptor acceptor_;
  tcp protocol_ = tcp::v4();
  std::uint16_t port_ = 0;
  std::deque<std::weak_ptr<TlsLink::Impl>> unproved_;
  Timer again_;
  std::uint64_t turned_away_ = 0;  // since the last line about it
  std::int64_t noted_ns_ = 0;
};

Result<std::unique_ptr<TlsListener>> TlsListener::start(Loop& loop, const Address& address,
                                                        const Identity& identity,
                                                        const ListenOptions& options,
                                                        OnAccept on_accept) {
  INSTEP_ASSIGN_OR_RETURN(auto context,
                          TlsContext::server(identity, options.allow_without_certificate));
  auto impl = std::make_shared<Impl>(loop, std::move(context), options, std::move(on_accept));
  INSTEP_RETURN_IF_ERROR(impl->listen(address));
  loop.post([impl] { impl->accept(); });
  return std::unique_ptr<TlsListener>(new TlsListener(std::move(impl)));
}

TlsListener::~TlsListener() { impl_->close(); }

std::uint16_t TlsListener::port() const { return impl_->port(); }

}  // namespace instep::fabric
