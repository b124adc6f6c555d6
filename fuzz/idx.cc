// IDX files, gzipped or not: samples, then targets (see Pair).
#include "data/readers.h"
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Pair pair = fuzz::pair_of(fuzz::bytes_of(data, size));
  const fuzz::File samples(pair.first), targets(pair.second);
  fuzz::use(data::load_idx(samples.path(), targets.path()));
  fuzz::use(data::load_idx_samples(samples.path()));
  return 0;
}

}  // namespace instep
