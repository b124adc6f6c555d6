// The one line that a host needs to join a run: where the coordinator listens, a token that lets it
// in, and the fingerprint by which it knows that it speaks to the right one.
//
//   instep://HOST:PORT/TOKEN@sha256:HEX
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace instep::fabric {

struct JoinLine {
  std::string host;
  std::uint16_t port = 0;
  std::string token;      // ID.SECRET (token_book.h)
  std::string authority;  // fingerprint of the run's authority (authority.h)
};

std::string to_text(const JoinLine& line);
// White space around the line is no part of it. Errors do not repeat the token.
Result<JoinLine> parse_join_line(std::string_view text);

}  // namespace instep::fabric
