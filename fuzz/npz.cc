// NPZ archives with arrays x and y.
#include "data/readers.h"
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(fuzz::bytes_of(data, size));
  fuzz::use(data::load_npz(file.path(), "x", "y"));
  fuzz::use(data::load_npy_samples(file.path(), "x"));
  return 0;
}

}  // namespace instep
