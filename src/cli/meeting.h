// Where the hosts of a launcher's job meet, by its variables.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/ranks.h"
#include "fabric/address.h"

namespace instep::cli {

// The first host listens there.
struct Meeting {
  fabric::Address address;
  std::string from;  // what says so, for people
};
// `flag` is that of --address, or empty: then what the launcher says, or MASTER_ADDR and
// MASTER_PORT where it says nothing.
Result<Meeting> read_meeting(const Environment& variables, const Rank& rank,
                             const std::string& flag);

}  // namespace instep::cli
