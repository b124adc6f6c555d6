// Who comes in by a listener: reads a link's first message and hands the link on to whom it is
// for. What does not say a good first word goes no further. On the loop's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/tls_link.h"
#include "wire/host_message.h"

namespace instep::coord {

class Door : private fabric::TlsLink::Sink {
 public:
  using Link = std::shared_ptr<fabric::TlsLink>;
  // Whom the link belongs to from here on; null: it is done with (it may have got a last word).
  using First = std::function<fabric::TlsLink::Sink*(const Link&, const wire::HostMessage&)>;
  // `turned_away` hears of links that never said one.
  Door(First first, std::function<void(const std::string& address, const Error&)> turned_away)
      : first_(std::move(first)), turned_away_(std::move(turned_away)) {}

  // A link from the listener.
  void take(Link link);
  void close();

 private:
  struct Visitor {
    Link link;                               // until it is handed on
    fabric::TlsLink::Sink* owner = nullptr;  // from then on
    std::vector<std::byte> message;
  };
  Result<std::span<std::byte>> place(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override;
  void closed(fabric::TlsLink& link, const Error& why) override;

  const First first_;
  const std::function<void(const std::string&, const Error&)> turned_away_;
  std::map<const fabric::TlsLink*, Visitor> visitors_;
};

}  // namespace instep::coord
