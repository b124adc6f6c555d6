#include "fabric/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace instep::fabric {
namespace {

constexpr std::size_t kMostHost = 253;  // of a name in the DNS
constexpr std::size_t kMostShown = 80;

Error wrong(std::string_view text, std::string_view what) {
  return invalid(cat("address '", text.substr(0, kMostShown), "': ", what,
                     "; write it as 10.0.0.2:4600, node7:4600 or [::1]:4600"));
}

bool is_ipv6(std::string_view host) {
  // A zone follows a link-local address: fe80::1%eth0.
  const std::string number(host.substr(0, host.find('%')));
  in6_addr parsed{};
  return ::inet_pton(AF_INET6, number.c_str(), &parsed) == 1;
}

bool is_name(std::string_view host) {
  return !host.empty() && host.size() <= kMostHost &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_';
         });
}

bool read_port(std::string_view text, std::uint16_t& port) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), port);
  return read.ec == std::errc() && read.ptr == text.data() + text.size();
}

}  // namespace

Result<Address> parse_address(std::string_view text, std::uint16_t default_port) {
  Address out{"", default_port};
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return wrong(text, "the bracket is not closed");
    host = text.substr(1, end - 1);
    if (!is_ipv6(host)) return wrong(text, "no IPv6 address stands in the brackets");
    const std::string_view rest = text.substr(end + 1);
    has_port = rest.starts_with(':');
    if (!rest.empty() && !has_port) return wrong(text, "after the bracket comes ':' and the port");
    if (has_port) port = rest.substr(1);
  } else if (is_ipv6(text)) {
    return wrong(text, "an IPv6 address stands in brackets");
  } else {
    const std::size_t colon = text.find(':');
    has_port = colon != text.npos;
    host = text.substr(0, colon);
    if (has_port) port = text.substr(colon + 1);
    if (has_port && host.empty()) {
      return wrong(text,
                   "it names no host (0.0.0.0 is every address of this machine, 127.0.0.1 this "
                   "machine alone)");
    }
    if (!is_name(host)) return wrong(text, "that is no host");
  }
  if (has_port && !read_port(port, out.port))
    return wrong(text, "the port is no number up to 65535");
  out.host = host;
  return out;
}

std::string to_text(const Address& address) {
  const bool brackets = address.host.find(':') != std::string::npos;
  return brackets ? cat('[', address.host, "]:", address.port)
                  : cat(address.host, ':', address.port);
}

}  // namespace instep::fabric
