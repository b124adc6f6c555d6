// Where a program listens or connects to, as people write it: "10.0.0.2:4600", "node7:4600",
// "[::1]:0".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace instep::fabric {

// Of the first host, unless another one is given.
inline constexpr std::uint16_t kUsualPort = 4600;
// To listen on any that is free.
inline constexpr std::uint16_t kAnyPort = 0;

struct Address {
  std::string host;  // a name or a number; IPv6 without brackets
  std::uint16_t port = 0;
};

// Without a port the text means `default_port`. Names are looked at, not looked up.
Result<Address> parse_address(std::string_view text, std::uint16_t default_port);
std::string to_text(const Address& address);

}  // namespace instep::fabric
