// Samples and their targets, for programs with their own training loop. The memory of a Dataset is
// shared by its copies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace at {
class Tensor;
}

namespace instep {

namespace data {
struct Table;
}

class Dataset {
 public:
  // Two IDX files, gzipped or not; bytes are scaled to [0, 1]. Targets are class numbers.
  static Dataset idx(const std::filesystem::path& samples, const std::filesystem::path& targets);
  // A CSV file with a header line; `target` names its target column. `classes`: class numbers, else
  // floats.
  static Dataset csv(const std::filesystem::path& file, const std::string& target, bool classes);
  // [n, …] of float32 or uint8 (scaled to [0, 1]), and [n] of int64 class numbers or [n, …] of
  // float32.
  static Dataset tensors(const at::Tensor& samples, const at::Tensor& targets);
  // A table that the library made.
  explicit Dataset(std::shared_ptr<const data::Table> table) : table_(std::move(table)) {}

  std::uint64_t size() const;
  const data::Table& table() const { return *table_; }

 private:
  std::shared_ptr<const data::Table> table_;
};

}  // namespace instep
