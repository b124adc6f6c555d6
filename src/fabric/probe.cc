#include "fabric/probe.h"

#include <asio.hpp>
#include <memory>
#include <utility>

#include "fabric/resolve.h"

namespace instep::fabric {
namespace {

using asio::ip::tcp;

// One call of probe(). Its limit's timer keeps it alive, so it ends with that, or with the loop.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(Loop& loop, Address address, std::function<void(Probe)> found)
      : loop_(loop),
        address_(std::move(address)),
        found_(std::move(found)),
        resolver_(loop.state().io),
        socket_(loop.state().io) {}

  void begin(std::int64_t within_ms) {
    limit_ = loop_.after(within_ms, [self = shared_from_this()] { self->finish(Probe::kSilent); });
    resolve(resolver_, address_,
            [weak = weak_from_this()](const asio::error_code& /*why*/, Endpoints found) {
              if (const auto self = weak.lock()) self->resolved(std::move(found));
            });
  }

 private:
  void resolved(Endpoints found) {
    endpoints_ = std::move(found);
    if (endpoints_.empty()) return finish(Probe::kSilent);
    look();
  }

  void look() {
    socket_ = tcp::socket(loop_.state().io);
    socket_.async_connect(endpoints_[next_],
                          [weak = weak_from_this()](const asio::error_code& why) {
                            if (const auto self = weak.lock()) self->looked(why);
                          });
  }

  // A name may have several addresses: nobody listens if nobody does at any of them.
  void looked(const asio::error_code& why) {
    if (!why) return finish(Probe::kListening);
    if (why != asio::error::connection_refused) return finish(Probe::kSilent);
    if (++next_ == endpoints_.size()) return finish(Probe::kClosed);
    look();
  }

  void finish(Probe result) {
    const auto self = shared_from_this();
    const auto call = std::exchange(found_, nullptr);
    limit_.cancel();
    resolver_.cancel();
    asio::error_code ignored;
    ignored = socket_.close(ignored);
    if (call) call(result);
  }

  Loop& loop_;
  const Address address_;
  std::function<void(Probe)> found_;
  tcp::resolver resolver_;
  Endpoints endpoints_;
  std::size_t next_ = 0;
  tcp::socket socket_;
  Timer limit_;
};

}  // namespace

void probe(Loop& loop, const Address& address, std::int64_t within_ms,
           std::function<void(Probe)> found) {
  auto attempt = std::make_shared<Attempt>(loop, address, std::move(found));
  loop.post([attempt = std::move(attempt), within_ms] { attempt->begin(within_ms); });
}

}  // namespace instep::fabric
