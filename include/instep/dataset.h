// Samples and their targets, for programs with their own training loop. The memory of a Dataset is
// shared by its copies. Files may be gzipped (an NPZ archive not); one that cannot be read as said
// ends the program with a message on stderr and exit code 2.
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
  // Two NPY files as numpy.save writes them: samples [n, …] of uint8 or bool (bytes are scaled to
  // [0, 1]), float32 or float64; targets [n] of whole numbers, which are class numbers, or [n, …]
  // of float32 or float64. Little-endian and in C order; pickled objects are refused, never loaded.
  static Dataset npy(const std::filesystem::path& samples, const std::filesystem::path& targets);
  // The same as two arrays of an NPZ archive, as numpy.savez(file, x=…, y=…) or savez_compressed
  // writes it.
  static Dataset npz(const std::filesystem::path& file, const std::string& samples = "x",
                     const std::string& targets = "y");
  // CIFAR-10 or CIFAR-100 in the binary version: samples [3, 32, 32] scaled to [0, 1], class
  // numbers, of CIFAR-100 the fine ones. A file, or a folder with data_batch_*.bin or train.bin,
  // whose test_batch.bin or test.bin is what `test` asks for.
  static Dataset cifar(const std::filesystem::path& path, bool test = false);
  // Any file's bytes: a batch's `data` is int64 [n, context], its `target` the byte after each. A
  // sample begins where the one before ends; the file needs context + 1 bytes.
  static Dataset text(const std::filesystem::path& file, std::int64_t context);
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
