#include "coord/claims.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace instep::coord {
namespace {

enum class Claim { kOurs, kTheirs, kUnknown };

Claim claim(int cpu, Fd& held) {
  Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Claim::kUnknown;
  const std::string name = cat("instep-cpu-", cpu);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a zero first: abstract
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    held = std::move(fd);
    return Claim::kOurs;
  }
  return errno == EADDRINUSE ? Claim::kTheirs : Claim::kUnknown;
}

}  // namespace

CpuClaims CpuClaims::take(const std::vector<int>& usable, std::size_t count) {
  CpuClaims out;
  std::vector<int> unasked;
  std::vector<int> theirs;
  for (const int cpu : usable) {
    if (out.claims_.size() >= count) {
      unasked.push_back(cpu);
      continue;
    }
    Fd held;
    switch (claim(cpu, held)) {
      case Claim::kOurs:
        out.order_.push_back(cpu);
        out.claims_.push_back(std::move(held));
        break;
      case Claim::kTheirs:
        theirs.push_back(cpu);
        break;
      case Claim::kUnknown:
        unasked.push_back(cpu);
        break;
    }
  }
  out.order_.insert(out.order_.end(), unasked.begin(), unasked.end());
  out.order_.insert(out.order_.end(), theirs.begin(), theirs.end());
  return out;
}

}  // namespace instep::coord
