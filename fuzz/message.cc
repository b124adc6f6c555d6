// What agents, launcher and whoever else connects say to each other.
#include "wire/message.h"

#include "input.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Bytes body = fuzz::bytes_of(data, size);
  if (size >= 4) (void)wire::frame_length(std::span<const std::byte, 4>(body.first(4)));
  static const fuzz::Kinds<wire::Message> kKinds;
  const auto message = wire::decode(body);
  if (!message.ok()) return 0;
  kKinds.saw(*message);
  fuzz::expect_same_again(
      *message,
      [](fuzz::Bytes frame) {
        const auto length = wire::frame_length(std::span<const std::byte, 4>(frame.first(4)));
        INSTEP_CHECK(length.ok() && *length + 4 == frame.size(), "a frame says its own length");
        return wire::decode(frame.subspan(4));
      },
      wire::encode);
  return 0;
}

}  // namespace instep
