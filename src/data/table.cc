#include <utility>

#include "data/readers.h"

namespace instep::data {

std::uint64_t Table::elements() const {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::uint64_t>(extent);
  return product;
}

std::shared_ptr<const void> keep_all(std::vector<std::shared_ptr<const void>> pieces) {
  return std::make_shared<const std::vector<std::shared_ptr<const void>>>(std::move(pieces));
}

}  // namespace instep::data
