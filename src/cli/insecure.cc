#include "cli/insecure.h"

#include "base/text.h"
#include "fabric/address.h"

namespace instep::cli {

Result<fabric::SharedKeys> insecure_keys() { return fabric::derive_keys(kNoSecret, "coordinator"); }

Result<fabric::JoinLine> insecure_line(const std::string& address) {
  if (address.find("://") != std::string::npos) {
    return invalid(
        "--insecure goes with HOST:PORT, as a coordinator with --insecure prints it; this line has "
        "a token of its own, so leave --insecure out");
  }
  INSTEP_ASSIGN_OR_RETURN(fabric::Address at, fabric::parse_address(address, fabric::kUsualPort));
  if (at.port == 0) return invalid("nobody listens on port 0");
  INSTEP_ASSIGN_OR_RETURN(fabric::SharedKeys keys, insecure_keys());
  return fabric::JoinLine{std::move(at.host), at.port, std::move(keys.token),
                          std::move(keys.fingerprint)};
}

Result<bool> is_insecure(const fabric::JoinLine& line) {
  INSTEP_ASSIGN_OR_RETURN(const fabric::SharedKeys keys, insecure_keys());
  return line.authority == keys.fingerprint;
}

}  // namespace instep::cli
