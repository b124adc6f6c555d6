// What the kernel knows of a TCP connection. A source of its own: the header that says all of it
// does not go together with the one that asio includes.
#pragma once

#include <optional>

#include "fabric/tls_link.h"

namespace instep::fabric {

// Nothing for what is no TCP socket, or on a kernel before 4.9.
std::optional<LinkFlow> tcp_flow(int socket);

}  // namespace instep::fabric
