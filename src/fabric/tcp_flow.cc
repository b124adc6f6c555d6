#include "fabric/tcp_flow.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace instep::fabric {

std::optional<LinkFlow> tcp_flow(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_sndbuf_limited)) return std::nullopt;
  LinkFlow flow;
  flow.acked_bytes = info.tcpi_bytes_acked;
  flow.bytes_s = info.tcpi_delivery_rate;
  flow.waiting_bytes = info.tcpi_notsent_bytes;
  flow.busy_us = info.tcpi_busy_time;
  flow.held_us = info.tcpi_rwnd_limited;
  flow.round_trip_us = info.tcpi_rtt;
  flow.least_round_trip_us = info.tcpi_min_rtt;
  return flow;
}

}  // namespace instep::fabric
