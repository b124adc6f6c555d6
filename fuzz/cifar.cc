// CIFAR's binary files.
#include "data/readers.h"
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(fuzz::bytes_of(data, size));
  fuzz::use(data::load_cifar(file.path(), false));
  return 0;
}

}  // namespace instep
