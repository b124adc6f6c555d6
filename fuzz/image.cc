// The image of a data set in memory that the launcher hands to agents.
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::File file(fuzz::bytes_of(data, size));
  const auto dataset = data::map_image(file.fd());
  if (!dataset.ok()) return 0;
  fuzz::use(dataset->train);
  fuzz::use(dataset->test);
  return 0;
}

}  // namespace instep
