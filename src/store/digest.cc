#include "store/digest.h"

#include <algorithm>

#include "base/hash.h"

namespace instep::store {

std::string digest(std::vector<TensorBytes> tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorBytes& a, const TensorBytes& b) { return a.name < b.name; });
  Sha256 hash;
  for (const TensorBytes& tensor : tensors) {
    hash.update_u64(tensor.name.size());
    hash.update(tensor.name);
    hash.update_u64(tensor.dtype.size());
    hash.update(tensor.dtype);
    hash.update_u64(tensor.shape.size());
    for (const std::int64_t size : tensor.shape) hash.update_u64(static_cast<std::uint64_t>(size));
    hash.update(tensor.bytes);
  }
  return hash.hex();
}

std::string state_digest(const std::string& parameters, const std::string& optimizer,
                         std::uint64_t rounds, std::uint64_t updates, std::uint64_t seed) {
  Sha256 hash;
  hash.update(parameters);
  hash.update(optimizer);
  hash.update_u64(rounds);
  hash.update_u64(updates);
  hash.update_u64(seed);
  return hash.hex();
}

}  // namespace instep::store
