// How much a TCP connection has on its way, or waiting in the kernel, at most.
//
// Left to itself the kernel lets that grow to net.ipv4.tcp_wmem, 4 MiB. With several hosts that all
// send to each other, queues of tens of milliseconds build up then before some lines, connections'
// shares swing, and other lines stand idle: plain TCP took 1.09 of the bytes by the rate in
// bench/links' network of 1 Gbit/s, and 1.01 with 1 MiB. Twice what the way itself holds keeps the
// line busy (N. Cardwell et al., BBR, ACM Queue 14:5, 2016: a queue no longer than the way).
#pragma once

#include <cstdint>
#include <optional>

namespace instep::fabric {

struct TcpWay {
  std::uint64_t bytes_s = 0;        // that it delivers
  std::uint64_t round_trip_us = 0;  // the shortest of late
};

// Bytes for a connection, where the kernel allows `most`; nothing: the kernel is to choose, for it
// may grow further than what it allows to be asked for.
std::optional<std::uint64_t> tcp_window(const TcpWay& way, std::uint64_t most);

// Of one socket; sets SO_SNDBUF, which the kernel counts in memory and not in bytes of payload.
class TcpWindow {
 public:
  // To be called now and then while there is something to send.
  void follow(int socket, std::int64_t now_ns);

 private:
  std::int64_t next_ns_ = 0;
  std::uint64_t window_ = 0;  // 0: the kernel's
};

}  // namespace instep::fabric
