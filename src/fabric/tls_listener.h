// Accepts links. A connection costs little until it has proved itself: it has LinkLimits' time, and
// there are at most so many unproved ones; the oldest makes way for a new one, so that who opens
// connections and says nothing keeps nobody else out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "fabric/address.h"
#include "fabric/authority.h"
#include "fabric/loop.h"
#include "fabric/tls_link.h"

namespace instep::fabric {

struct ListenOptions {
  // Lets in who has no certificate yet: such a link has an empty peer(), may send one frame
  // (LinkLimits::first_frame_*), and counts as unproved until it ends.
  bool allow_without_certificate = false;
  std::size_t most_unproved = 64;
  LinkLimits limits;
};

class TlsListener {
 public:
  // Called in the loop's thread with each link whose other end is believed; it is to be start()ed.
  using OnAccept = std::function<void(std::shared_ptr<TlsLink>)>;

  // Port 0 is any free one. An address that is taken or not this machine's is an Error that says
  // what to do.
  static Result<std::unique_ptr<TlsListener>> start(Loop& loop, const Address& address,
                                                    const Identity& identity,
                                                    const ListenOptions& options,
                                                    OnAccept on_accept);
  ~TlsListener();  // in the loop's thread, or when that has ended; links that were accepted stay

  std::uint16_t port() const;

 private:
  class Impl;
  explicit TlsListener(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<Impl> impl_;
};

}  // namespace instep::fabric
