#include "fabric/probe.h"

#include <asio.hpp>
#include <memory>
#include <utility>

#include "fabric/loop_state.h"

namespace instep::fabric {
namespace {

struct Attempt {
  Attempt(Loop& loop, std::function<void(Probe)> done)
      : socket(loop.state().io), found(std::move(done)) {}
  void finish(Probe result) {
    const auto call = std::exchange(found, nullptr);
    limit.cancel();
    asio::error_code ignored;
    ignored = socket.close(ignored);
    if (call) call(result);
  }

  asio::ip::tcp::socket socket;
  std::function<void(Probe)> found;
  Timer limit;
};

}  // namespace

void probe(Loop& loop, const Address& address, std::int64_t within_ms,
           std::function<void(Probe)> found) {
  const auto attempt = std::make_shared<Attempt>(loop, std::move(found));
  loop.post([&loop, attempt, address, within_ms] {
    asio::error_code failed;
    const auto number = asio::ip::make_address(address.host, failed);
    if (failed) return attempt->finish(Probe::kSilent);
    attempt->limit = loop.after(within_ms, [attempt] { attempt->finish(Probe::kSilent); });
    attempt->socket.async_connect({number, address.port}, [attempt](const asio::error_code& why) {
      attempt->finish(!why                                     ? Probe::kListening
                      : why == asio::error::connection_refused ? Probe::kClosed
                                                               : Probe::kSilent);
    });
  });
}

}  // namespace instep::fabric
