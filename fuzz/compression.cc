// What another host may send in place of values; and values, which must come back as they were.
#include "fabric/compression.h"

#include "input.h"

namespace instep {
namespace {

constexpr std::size_t kValueBytes = 2 * fabric::Compressor::kLeastBytes;

void take(fuzz::Bytes compressed) {
  static fabric::Decompressor decompressor;
  const auto size = fabric::Decompressor::size_of(compressed);
  if (!size.ok()) return;
  std::vector<std::byte> to(*size);
  if (decompressor.decompress(compressed, to).ok()) fuzz::use(std::span<const std::byte>(to));
}

// The input again and again, as values of any width.
void make(fuzz::Bytes bytes, std::size_t width) {
  static fabric::Compressor compressor(fabric::Compression::kAlways);
  static fabric::Decompressor decompressor;
  std::vector<std::byte> values(kValueBytes);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = bytes[i % bytes.size()];
  const auto made = compressor.compress(values, width, 0);
  if (!made) return;
  INSTEP_CHECK(made->size() < values.size(), "it is smaller");
  std::vector<std::byte> back(*fabric::Decompressor::size_of(*made));
  INSTEP_CHECK(decompressor.decompress(*made, back).ok() && back == values, "it comes back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  take(bytes);
  if (size > 0) make(bytes, std::size_t{1} << data[0] % 3);
  return 0;
}

}  // namespace instep
