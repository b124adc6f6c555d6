// The JSON header of a safetensors file: parsed as a stream into exactly what the format allows, so
// that no hostile header costs more than its own size or any depth of the stack.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/safetensors.h"

namespace instep::store {

inline constexpr std::uint64_t kLengthBytes = 8;
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
inline constexpr std::string_view kMetadataName = "__metadata__";

struct Header {
  std::vector<TensorInfo>
      tensors;  // by offset, which counts from the beginning of the data section
  std::map<std::string, std::string> metadata;
};

// `json` is the header without its length; `data_bytes` is what follows it in the file. Messages
// name the tensor; the caller adds the file.
Result<Header> parse_header(std::string_view json, std::uint64_t data_bytes);

}  // namespace instep::store
