#include "fabric/tls_link.h"

#include <utility>

#include "base/text.h"
#include "fabric/tls_link_impl.h"

namespace instep::fabric {

TlsLink::TlsLink(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

TlsLink::~TlsLink() {
  if (!impl_->is_finishing()) impl_->close();
}

void TlsLink::start(Sink* sink) { impl_->start(this, sink); }

void TlsLink::send(FrameHead head, std::vector<std::byte> payload) {
  INSTEP_CHECK(payload.size() <= kMaxPayload, "a payload is no larger than is allowed");
  head.size = static_cast<std::uint32_t>(payload.size());
  impl_->push(head, std::move(payload));
}

void TlsLink::send(FrameHead head, std::span<const std::byte> payload, std::function<void()> sent) {
  INSTEP_CHECK(payload.size() <= kMaxPayload, "a payload is no larger than is allowed");
  head.size = static_cast<std::uint32_t>(payload.size());
  impl_->push(head, payload, std::move(sent));
}

std::size_t TlsLink::queued_bytes() const { return impl_->queued_bytes(); }
std::optional<LinkFlow> TlsLink::flow() const { return impl_->flow(); }
void TlsLink::close() { impl_->close(); }
void TlsLink::finish() { impl_->finish(); }
const std::string& TlsLink::peer() const { return impl_->peer(); }
const std::string& TlsLink::address() const { return impl_->address(); }

}  // namespace instep::fabric
