#include "store/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "base/text.h"
#include "store/safetensors_header.h"

namespace instep::store {
namespace {

constexpr std::uint64_t kAlignment = 64;

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::optional<std::uint64_t> dtype_bytes(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 17> kSizes = {{
      {"BOOL", 1},
      {"U8", 1},
      {"I8", 1},
      {"F8_E5M2", 1},
      {"F8_E4M3", 1},
      {"F8_E8M0", 1},
      {"I16", 2},
      {"U16", 2},
      {"F16", 2},
      {"BF16", 2},
      {"I32", 4},
      {"U32", 4},
      {"F32", 4},
      {"I64", 8},
      {"U64", 8},
      {"F64", 8},
      {"C64", 8},
  }};
  for (const auto& [name, bytes] : kSizes) {
    if (name == dtype) return bytes;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> tensor_bytes(std::string_view dtype,
                                          const std::vector<std::int64_t>& shape) {
  const std::optional<std::uint64_t> element = dtype_bytes(dtype);
  if (!element) return std::nullopt;
  std::uint64_t bytes = *element;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      return std::nullopt;
    }
  }
  if (bytes > std::uint64_t(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return bytes;
}

SafetensorsLayout::SafetensorsLayout(std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : tensors_(std::move(tensors)) {
  std::set<std::string_view> names = {kMetadataName};
  for (TensorInfo& tensor : tensors_) {
    INSTEP_CHECK(names.insert(tensor.name).second, "tensors of one file have names of their own");
    const std::optional<std::uint64_t> bytes = tensor_bytes(tensor.dtype, tensor.shape);
    INSTEP_CHECK(bytes.has_value(), "a tensor to be saved has a known dtype and a sane size");
    tensor.bytes = *bytes;
  }
  std::vector<std::size_t> order(tensors_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    return dtype_bytes(tensors_[a].dtype) > dtype_bytes(tensors_[b].dtype);
  });

  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata)
      pairs.push_back(json_text(key) + ":" + json_text(value));
    entries.push_back(cat("\"", kMetadataName, "\":{", join(pairs, ","), "}"));
  }
  std::uint64_t end = 0;
  for (const std::size_t i : order) {
    TensorInfo& tensor = tensors_[i];
    tensor.offset = end;  // within the data section; the header's length is not known yet
    INSTEP_CHECK(!__builtin_add_overflow(end, tensor.bytes, &end), "a file is below 2^63 bytes");
    std::vector<std::string> extents;
    for (const std::int64_t extent : tensor.shape) extents.push_back(std::to_string(extent));
    entries.push_back(cat(json_text(tensor.name), ":{\"dtype\":", json_text(tensor.dtype),
                          ",\"shape\":[", join(extents, ","), "],\"data_offsets\":[", tensor.offset,
                          ",", end, "]}"));
  }
  std::string json = "{" + join(entries, ",") + "}";
  const std::uint64_t used = kLengthBytes + json.size();
  json.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  INSTEP_CHECK(json.size() <= kMaxHeaderBytes, "a safetensors header stays below 100 MB");
  for (std::uint64_t i = 0; i < kLengthBytes; ++i) {
    header_ += static_cast<char>(static_cast<unsigned char>(json.size() >> (8 * i)));
  }
  header_ += json;
  for (TensorInfo& tensor : tensors_) tensor.offset += header_.size();
  file_bytes_ = header_.size() + end;
}

}  // namespace instep::store
