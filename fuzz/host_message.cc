// What hosts and the hub say to each other.
#include "wire/host_message.h"

#include "input.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Kinds<wire::HostMessage> kKinds;
  const auto message = wire::decode_host(fuzz::bytes_of(data, size));
  if (!message.ok()) return 0;
  kKinds.saw(*message);
  fuzz::expect_same_again(*message, wire::decode_host, wire::encode_host);
  return 0;
}

}  // namespace instep
