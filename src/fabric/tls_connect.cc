#include "fabric/tls_connect.h"

#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/text.h"
#include "fabric/resolve.h"
#include "fabric/tls_link_impl.h"

namespace instep::fabric {
namespace {

using asio::ip::tcp;

constexpr std::int64_t kFirstPauseMs = 50;
constexpr std::int64_t kLongestPauseMs = 1000;

// One call of connect(). Its deadline's timer keeps it alive, so it ends with that, or with the
// loop.
class Connector : public std::enable_shared_from_this<Connector> {
 public:
  Connector(Loop& loop, Address address, std::shared_ptr<TlsContext> context,
            ConnectOptions options, OnConnected done)
      : loop_(loop),
        address_(std::move(address)),
        context_(std::move(context)),
        options_(std::move(options)),
        done_(std::move(done)),
        resolver_(loop.state().io),
        socket_(loop.state().io) {}

  void begin() {
    deadline_ = loop_.after(options_.within_ms, [self = shared_from_this()] { self->give_up(); });
    resolve(resolver_, address_,
            [weak = weak_from_this()](const asio::error_code& why, Endpoints found) {
              if (const auto self = weak.lock()) self->resolved(why, std::move(found));
            });
  }

 private:
  void resolved(const asio::error_code& why, Endpoints found) {
    if (!done_) return;
    endpoints_ = std::move(found);
    if (!endpoints_.empty()) return attempt();
    finish(invalid(cat("no machine with the name '", address_.host, "' is known here (",
                       why.message(), "); check the name, or give its address")));
  }

  void attempt() {
    asio::error_code failed;
    socket_ = tcp::socket(loop_.state().io);
    open_socket(socket_, endpoints_[next_].protocol(), failed);
    if (failed) return again({ErrorKind::kUnavailable, failed.message()});
    attempt_limit_ =
        after(options_.limits.handshake_ms, [](Connector& self) { close_socket(self.socket_); });
    socket_.async_connect(endpoints_[next_],
                          [weak = weak_from_this()](const asio::error_code& why) {
                            if (const auto self = weak.lock()) self->connected(why);
                          });
  }

  void connected(const asio::error_code& why) {
    attempt_limit_.cancel();
    if (!done_) return;
    if (why == asio::error::operation_aborted) {
      return again({ErrorKind::kUnavailable, "it does not answer"});
    }
    if (why) return again({ErrorKind::kUnavailable, why.message()});
    link_ = std::make_shared<TlsLink::Impl>(loop_, std::move(socket_), context_, options_.limits);
    link_->open([weak = weak_from_this()](const Status& status) {
      if (const auto self = weak.lock()) self->opened(status);
    });
  }

  void opened(const Status& status) {
    const auto link = std::exchange(link_, nullptr);
    if (!done_) return;
    if (!status.ok()) {
      if (status.error().kind == ErrorKind::kUnavailable) return again(status.error());
      return finish(Error{status.error().kind, cat("cannot link to ", status.error().message)});
    }
    if (!options_.peer.empty() && link->peer() != options_.peer) {
      Error other{ErrorKind::kMismatch,
                  cat("cannot link to ", to_text(address_), ": '", link->peer(),
                      "' is there, and not '", options_.peer, "'")};
      link->close();
      return finish(std::move(other));
    }
    finish(std::make_shared<TlsLink>(link));
  }

  // All endpoints in turn, then a pause that grows.
  void again(Error why) {
    last_ = std::move(why);
    next_ = (next_ + 1) % endpoints_.size();
    if (next_ != 0) return attempt();
    pause_ = after(pause_ms_, [](Connector& self) { self.attempt(); });
    pause_ms_ = std::min(2 * pause_ms_, kLongestPauseMs);
  }

  void give_up() {
    finish(Error{ErrorKind::kUnavailable,
                 cat("cannot reach ", to_text(address_), " within ",
                     number(double(options_.within_ms) / 1000, 1), " s (", last_.message,
                     "); does the run listen there, and does no firewall stand between?")});
  }

  void finish(Result<std::shared_ptr<TlsLink>> result) {
    const auto done = std::exchange(done_, nullptr);
    if (link_) link_->close();
    close_socket(socket_);
    resolver_.cancel();
    pause_.cancel();
    attempt_limit_.cancel();
    const auto self = shared_from_this();
    deadline_.cancel();
    if (done) done(std::move(result));
  }

  Timer after(std::int64_t milliseconds, void (*due)(Connector&)) {
    return loop_.after(milliseconds, [weak = weak_from_this(), due] {
      if (const auto self = weak.lock()) due(*self);
    });
  }

  Loop& loop_;
  Address address_;
  std::shared_ptr<TlsContext> context_;
  ConnectOptions options_;
  OnConnected done_;
  tcp::resolver resolver_;
  Endpoints endpoints_;
  std::size_t next_ = 0;
  tcp::socket socket_;
  std::shared_ptr<TlsLink::Impl> link_;
  Error last_{ErrorKind::kUnavailable, "it does not answer"};
  std::int64_t pause_ms_ = kFirstPauseMs;
  Timer deadline_, pause_, attempt_limit_;
};

void begin(Loop& loop, const Address& address, Result<std::shared_ptr<TlsContext>> context,
           const ConnectOptions& options, OnConnected done) {
  if (!context.ok()) {
    loop.post([done = std::move(done), error = context.error()] { done(error); });
    return;
  }
  auto made = std::make_shared<Connector>(loop, address, context.take(), options, std::move(done));
  // Whole: the loop's thread may be done with it before the caller's goes on.
  loop.post([made = std::move(made)] { made->begin(); });
}

}  // namespace

void connect(Loop& loop, const Address& address, const Identity& identity,
             const ConnectOptions& options, OnConnected done) {
  begin(loop, address, TlsContext::client(identity), options, std::move(done));
}

void connect_by_fingerprint(Loop& loop, const Address& address, const std::string& fingerprint,
                            const ConnectOptions& options, OnConnected done) {
  begin(loop, address, TlsContext::first_contact(fingerprint, options.disbelief), options,
        std::move(done));
}

}  // namespace instep::fabric
