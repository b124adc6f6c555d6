// --insecure, for closed networks: what everybody knows stands in the place of a secret. Links are
// encrypted all the same, but anyone who reaches the port can join, or pose as the first host.
#pragma once

#include <string>

#include "base/result.h"
#include "fabric/join_line.h"
#include "fabric/shared_secret.h"

namespace instep::cli {

inline constexpr const char* kNoSecret = "instep --insecure";

// Of every `instep coordinator --insecure`, wherever it listens: hosts may know it by any name.
Result<fabric::SharedKeys> insecure_keys();
// What joins such a coordinator at HOST[:PORT].
Result<fabric::JoinLine> insecure_line(const std::string& address);
// Whether a line is of such a coordinator, as `instep token` makes it: whatever its token,
// everybody can make the key that it is known by.
Result<bool> is_insecure(const fabric::JoinLine& line);

}  // namespace instep::cli
