// Text as tokens: the first byte is the length of a sample.
#include "data/readers.h"
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const fuzz::File file(fuzz::bytes_of(data + 1, size - 1));
  fuzz::use(data::load_text(file.path(), data[0]));
  fuzz::use(data::load_text_inputs(file.path(), data[0]));
  return 0;
}

}  // namespace instep
