#include "fabric/join_line.h"

#include <algorithm>

#include "base/text.h"
#include "fabric/address.h"
#include "fabric/token_book.h"

namespace instep::fabric {
namespace {

constexpr std::string_view kScheme = "instep://";
constexpr std::string_view kHash = "sha256:";
constexpr std::size_t kHashDigits = 64;
constexpr std::size_t kMostLine = 1024;
constexpr std::string_view kSpace = " \t\r\n";

Error wrong(std::string_view what) {
  return invalid(cat("join line: ", what,
                     "; it looks like instep://10.0.0.2:4600/k3v9qa.m2x…@sha256:9f86d0…, as the "
                     "run's own host printed it"));
}

bool is_hash(std::string_view text) {
  return text.size() == kHashDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string to_text(const JoinLine& line) {
  return cat(kScheme, to_text(Address{line.host, line.port}), '/', line.token, '@', kHash,
             line.authority);
}

Result<JoinLine> parse_join_line(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return wrong("it is empty");
  text = text.substr(first, text.find_last_not_of(kSpace) - first + 1);
  if (text.size() > kMostLine) return wrong(cat("it is longer than ", kMostLine, " characters"));
  if (!text.starts_with(kScheme)) return wrong("it does not begin with 'instep://'");
  text.remove_prefix(kScheme.size());
  const std::size_t slash = text.find('/');
  if (slash == text.npos) return wrong("'/' and a token are missing after the address");
  const auto address = parse_address(text.substr(0, slash), 0);
  if (!address.ok()) return wrong(address.error().message);
  if (address->port == 0) return wrong("the port is missing after the host");
  text.remove_prefix(slash + 1);
  const std::size_t at = text.find('@');
  if (at == text.npos) return wrong("'@sha256:' and the fingerprint are missing after the token");
  JoinLine out{address->host, address->port, std::string(text.substr(0, at)), ""};
  if (!is_token(out.token)) {
    return wrong("the token between '/' and '@' is not whole (6 characters, '.', 24 characters)");
  }
  text.remove_prefix(at + 1);
  if (!text.starts_with(kHash)) return wrong("after '@' comes 'sha256:'");
  out.authority = text.substr(kHash.size());
  if (!is_hash(out.authority)) {
    return wrong("the fingerprint at the end is not whole (64 digits of 0-9 and a-f)");
  }
  return out;
}

}  // namespace instep::fabric
