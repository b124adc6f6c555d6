// One connection between two hosts: frames over TLS. Links are made by a TlsListener and by
// connect(), each on a Loop; methods are called in that loop's thread, and so is the sink.
//
// A link that is started pings when it has nothing else to say, and ends when nothing was heard for
// a while, so each end learns that the other, or the way to it, has gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "fabric/frame.h"

namespace instep::fabric {

struct LinkLimits {
  // From the connection until both ends have proved who they are.
  std::int64_t handshake_ms = 5000;
  std::int64_t ping_ms = 500;
  std::int64_t silence_ms = 10'000;
  // Of a peer without a certificate: one frame of so many bytes, within so long.
  std::uint32_t first_frame_bytes = 16 << 10;
  std::int64_t first_frame_ms = 5000;
  // Frames wait unencrypted while so much is on its way.
  std::size_t sending_bytes = 256 << 10;
  // A key of AES-GCM is good for 2^24.5 records (RFC 8446, section 5.5); these are 2^22 full ones.
  std::uint64_t change_key_bytes = std::uint64_t{64} << 30;
};

// What is known of a link's way, since it was made.
struct LinkFlow {
  std::uint64_t acked_bytes = 0;
  std::uint64_t bytes_s = 0;              // at which they are delivered, while some wait
  std::uint64_t waiting_bytes = 0;        // that are not on their way yet
  std::uint64_t busy_us = 0;              // something was on its way, or waited
  std::uint64_t held_us = 0;              // the other end had no room for it
  std::uint32_t round_trip_us = 0;        // now, with what waits in queues on the way
  std::uint32_t least_round_trip_us = 0;  // the shortest of late: without
};

class TlsLink {
 public:
  class Impl;
  class Sink {
   public:
    virtual ~Sink() = default;
    // A head has come: where its payload is to go, just head.size bytes, valid until took() or the
    // link's end. Not asked where there is no payload. An Error ends the link.
    virtual Result<std::span<std::byte>> place(TlsLink& link, const FrameHead& head) = 0;
    // The payload lies there. An Error ends the link.
    virtual Status took(TlsLink& link, const FrameHead& head) = 0;
    // The link has ended, though not by close() or finish(); nothing of it comes after this.
    virtual void closed(TlsLink& link, const Error& why) = 0;
  };

  explicit TlsLink(std::shared_ptr<Impl> impl);  // by TlsListener and connect()
  ~TlsLink();                                    // closes it, unless it finishes
  TlsLink(const TlsLink&) = delete;
  TlsLink& operator=(const TlsLink&) = delete;

  // Begins to read; before it, nothing is. The sink stays until it was told closed(), or close().
  void start(Sink* sink);

  // Any number may be sent before the first has gone; they arrive in order. What cannot be sent any
  // more because the link has ended is dropped, and `sent` not called.
  void send(FrameHead head, std::vector<std::byte> payload = {});
  // `payload` stays as it is until `sent` was called or the link has ended.
  void send(FrameHead head, std::span<const std::byte> payload, std::function<void()> sent);
  // Of frames that wait.
  std::size_t queued_bytes() const;
  // Nothing if it has ended, or the kernel does not say.
  std::optional<LinkFlow> flow() const;

  // A fence: when it returns, nothing of this link is read or written any more, no memory given to
  // it is touched, and the sink is not called again.
  void close();
  // The same for the sink, which hears nothing more; but what is queued is sent before the end, for
  // up to LinkLimits::handshake_ms. For a last word to somebody who is turned away: memory must be
  // the link's own. The link may be let go of.
  void finish();

  const std::string& peer() const;     // the name in its certificate, empty without one
  const std::string& address() const;  // "10.0.0.2:4711"

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace instep::fabric
