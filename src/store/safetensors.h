// The safetensors format: u64 little-endian header length, a JSON header, raw little-endian
// tensors. Torch-free. Reading trusts nothing: header at most 100 MB and inside the file, no name
// twice, offsets inside the file, no overlaps, no holes, known dtypes, sizes that match shapes.
// What is read once may be used from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace instep::store {

struct TensorInfo {
  std::string name;
  std::string dtype;  // "F32", "I64", "U8", …
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // from the beginning of the file
  std::uint64_t bytes = 0;
};

// Bytes of one element, none for a dtype that instep does not know (those under a byte among them).
std::optional<std::uint64_t> dtype_bytes(std::string_view dtype);
// Bytes of a whole tensor; none if the dtype is unknown, an extent negative or the size past 2^63.
std::optional<std::uint64_t> tensor_bytes(std::string_view dtype,
                                          const std::vector<std::int64_t>& shape);

// Where everything of a file will lie, before any of it is written; so several processes can write
// parts of one file. Python's package allows no holes, so the header is padded until the data
// section begins on 64 bytes, and the tensors lie back to back: those with the widest elements
// first, in the order given among equals, so that each is aligned to its own elements (torch
// refuses others).
class SafetensorsLayout {
 public:
  // offset and bytes of `tensors` are filled in here. Names must differ and be UTF-8, dtypes be
  // known.
  SafetensorsLayout(std::vector<TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata);

  const std::string& header() const { return header_; }  // with its length, to be written at 0
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in the order given
  std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  std::string header_;
  std::vector<TensorInfo> tensors_;
  std::uint64_t file_bytes_ = 0;
};

// A file mapped read-only. Copies share the mapping, which lives as long as the last of them.
// Reading bytes of a file that somebody shortens meanwhile is a SIGBUS, as with every mapping.
class SafetensorsFile {
 public:
  // kNotFound; kInvalid: no regular file, or a dtype unknown to instep; kCorrupt: anything else
  // that is not as the format demands, with the file and the tensor named.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // as they lie in the file
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* find(const std::string& name) const;
  // Aligned to its elements in files of ours; others may lay it on any byte.
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;

 private:
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::unordered_map<std::string, std::size_t> index_;
  std::shared_ptr<const std::byte> map_;
  std::uint64_t size_ = 0;
};

}  // namespace instep::store
