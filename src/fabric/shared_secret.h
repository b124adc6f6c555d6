// What hosts that hold the same secret know of a run, each by itself and without a word from the
// others: the key of its authority, hence the fingerprint in its join line, and the token in it.
// Who has not the secret can neither pose as the run's first host nor join. Nothing that is sent
// tells the secret, but by the authority's certificate guesses of it can be tried out, so each
// guess costs some 50 ms and 16 MiB (scrypt, RFC 7914).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace instep::fabric {

// In bytes; a person's choice is worth less than random ones, so longer is better.
inline constexpr std::size_t kLeastSecret = 16;

struct SharedKeys {
  std::string authority_key;  // PEM, EC P-256
  std::string fingerprint;    // of an authority with this key (authority.h)
  std::string token;          // token_book.h
};

// `run` tells runs with one secret apart: their keys have nothing in common.
Result<SharedKeys> derive_keys(std::string_view secret, std::string_view run);

}  // namespace instep::fabric
