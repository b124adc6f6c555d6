// What comes over a link between hosts: frames, once it is encrypted; before that, bytes to a
// handshake. The first byte chooses how the stream is cut, and whether it is a stranger's.
#include <sys/socket.h>

#include <cstring>

#include "fabric/frame.h"
#include "fabric/tls.h"
#include "input.h"

namespace instep {
namespace {

struct Taken {
  std::vector<std::byte> bytes;  // heads and payloads, as they are sent again
  std::uint32_t frames = 0;
};

void read_frames(fuzz::Bytes stream, std::size_t most, bool stranger) {
  static std::vector<std::byte> place(fabric::kMaxPayload);
  Taken taken;
  fabric::FrameReader reader(
      {[](const fabric::FrameHead& head) { return Result(std::span(place).first(head.size)); },
       [&](const fabric::FrameHead& head) {
         const auto bytes = fabric::encode(head);
         taken.bytes.insert(taken.bytes.end(), bytes.begin(), bytes.end());
         taken.bytes.insert(taken.bytes.end(), place.begin(), place.begin() + head.size);
         taken.frames += head.kind != fabric::kPing ? 1 : 0;
         return Status();
       }});
  if (stranger) reader.limit(1, 1024);
  std::size_t read = 0;
  while (read < stream.size()) {
    const auto wanted = reader.wanted();
    INSTEP_CHECK(!wanted.empty(), "a reader always wants something");
    const std::size_t count = std::min({most, wanted.size(), stream.size() - read});
    std::memcpy(wanted.data(), stream.data() + read, count);
    if (!reader.filled(count).ok()) break;
    read += count;
  }
  INSTEP_CHECK(taken.bytes.size() <= read &&
                   std::equal(taken.bytes.begin(), taken.bytes.end(), stream.begin()),
               "frames are taken as they came");
  INSTEP_CHECK(!stranger || taken.frames <= 1, "a stranger says one thing");
}

std::shared_ptr<fabric::TlsContext> server() {
  const auto authority = fabric::Authority::make("fuzz").take();
  return fabric::TlsContext::server(authority.issue("coordinator").take(), true).take();
}

void shake(fuzz::Bytes bytes) {
  static const std::shared_ptr<fabric::TlsContext> kContext = server();
  std::array<int, 2> ends{};
  INSTEP_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "a pair");
  const Fd near(ends[0]), far(ends[1]);
  fabric::TlsSession session(kContext, near.get());
  (void)::send(far.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  const auto step = session.handshake();
  INSTEP_CHECK(!step.ok() || *step != fabric::TlsSession::Step::kDone, "nobody has answered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const fuzz::Bytes stream = fuzz::bytes_of(data + 1, size - 1);
  read_frames(stream, 1 + (data[0] >> 1), (data[0] & 1) != 0);
  shake(stream);
  return 0;
}

}  // namespace instep
