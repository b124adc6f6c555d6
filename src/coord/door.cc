#include "coord/door.h"

#include "base/text.h"
#include "coord/host_frames.h"

namespace instep::coord {

void Door::take(Link link) {
  fabric::TlsLink& it = *link;
  visitors_[&it] = Visitor{std::move(link), nullptr, {}};
  it.start(this);
}

void Door::close() {
  for (auto& [link, visitor] : visitors_) {
    if (visitor.link) visitor.link->close();
  }
  visitors_.clear();
}

Result<std::span<std::byte>> Door::place(fabric::TlsLink& link, const fabric::FrameHead& head) {
  Visitor& it = visitors_.at(&link);
  if (it.owner != nullptr) return it.owner->place(link, head);
  if (head.kind != kMessageFrame || head.size > wire::kMaxFirstMessageBytes) {
    return Error{ErrorKind::kCorrupt, "its first frame is no first message"};
  }
  it.message.resize(head.size);
  return std::span(it.message);
}

Status Door::took(fabric::TlsLink& link, const fabric::FrameHead& head) {
  Visitor& it = visitors_.at(&link);
  if (it.owner != nullptr) return it.owner->took(link, head);
  INSTEP_ASSIGN_OR_RETURN(const wire::HostMessage message, wire::decode_host(it.message));
  const Link mine = std::exchange(it.link, nullptr);
  fabric::TlsLink::Sink* const owner = first_(mine, message);
  const auto still = visitors_.find(&link);
  if (still == visitors_.end()) return {};
  still->second.owner = owner;
  if (owner == nullptr) {
    visitors_.erase(still);
    mine->finish();
  }
  return {};
}

void Door::closed(fabric::TlsLink& link, const Error& why) {
  const auto found = visitors_.find(&link);
  if (found == visitors_.end()) return;
  const Visitor visitor = std::move(found->second);
  visitors_.erase(found);
  if (visitor.owner != nullptr) return visitor.owner->closed(link, why);
  turned_away_(link.address(), why);
}

}  // namespace instep::coord
