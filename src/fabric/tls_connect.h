// Opens a link to a listener. What may pass, such as a coordinator that does not listen yet, is
// tried again until the time is up; what will not (a name that nobody knows, a certificate that is
// not believed) is an Error at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "fabric/address.h"
#include "fabric/authority.h"
#include "fabric/loop.h"
#include "fabric/tls_link.h"

namespace instep::fabric {

// Called once, in the loop's thread, with a link that is to be start()ed; the listener has by then
// said that it takes us. It is not called when the loop ends before.
using OnConnected = std::function<void(Result<std::shared_ptr<TlsLink>>)>;

struct ConnectOptions {
  std::int64_t within_ms = 30'000;
  std::string peer;  // the name that the listener's certificate must have; empty: any of the run's
  LinkLimits limits;
  // Of connect_by_fingerprint(): what is said of a listener with another fingerprint; empty: as of
  // a join line that somebody has typed.
  std::string disbelief;
};

// From any thread.
void connect(Loop& loop, const Address& address, const Identity& identity,
             const ConnectOptions& options, OnConnected done);
// For the first contact of a host that has no certificate yet: believes the listener if its
// authority has this fingerprint.
void connect_by_fingerprint(Loop& loop, const Address& address, const std::string& fingerprint,
                            const ConnectOptions& options, OnConnected done);

}  // namespace instep::fabric
