#include <numeric>
#include <utility>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {

std::uint64_t Table::elements() const {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::uint64_t>(extent);
  return product;
}

std::span<const std::int32_t> Table::class_span() const {
  return classes == nullptr ? std::span<const std::int32_t>() : std::span(classes, size);
}

std::vector<std::uint64_t> first_samples(std::uint64_t count) {
  std::vector<std::uint64_t> out(count);
  std::iota(out.begin(), out.end(), std::uint64_t{0});
  return out;
}

std::string shape_text(const std::vector<std::int64_t>& extents) {
  std::vector<std::string> parts;
  for (const std::int64_t extent : extents) parts.push_back(std::to_string(extent));
  return join(parts, " x ");
}

std::shared_ptr<const void> keep_all(std::vector<std::shared_ptr<const void>> pieces) {
  return std::make_shared<const std::vector<std::shared_ptr<const void>>>(std::move(pieces));
}

}  // namespace instep::data
