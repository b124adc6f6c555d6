// The safetensors format: u64 little-endian header length, a JSON header, raw little-endian
// tensors. Torch-free. Reading trusts nothing: header at most 100 MB, offsets inside the file, no
// overlaps, no holes, known dtypes, sizes that match shapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
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

// Where everything of a file will lie, before any of it is written; so several processes can write
// parts of one file. Tensors are laid out in the order given, each on 64 bytes.
class SafetensorsLayout {
 public:
  SafetensorsLayout(std::vector<TensorInfo> tensors, std::map<std::string, std::string> metadata);

  const std::string& header() const { return header_; }  // with its length, to be written at 0
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  std::string header_;
  std::vector<TensorInfo> tensors_;
  std::uint64_t file_bytes_ = 0;
};

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* find(const std::string& name) const;
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;

 private:
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::shared_ptr<const std::byte> map_;
  std::uint64_t size_ = 0;
};

}  // namespace instep::store
