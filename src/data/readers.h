// The readers behind load(), and what they share.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "data/dataset.h"
#include "data/memory.h"

namespace instep::data {

// Dimensions of a file's array, and so of a sample and the batch before it.
inline constexpr std::size_t kMaxRank = 8;
// Labels at and above it are taken for a mistake where the job does not say how many classes there
// are: they would size the model's output.
inline constexpr std::int64_t kMaxInferredClasses = 1 << 20;

struct CsvFile {
  Table table;
  std::vector<std::string> columns;  // names in file order, the target's too; empty without header
};

Result<CsvFile> read_csv(const std::filesystem::path& path, const job::Data& spec, job::Loss loss);

// A CSV file whose columns are all features, and an IDX file of samples alone.
Result<CsvFile> read_csv_features(const std::filesystem::path& path, const job::Data& spec);
Result<Table> load_idx_samples(const std::filesystem::path& samples);

// The same of an NPY file, or of the array `key` of an NPZ file; and whether a file is one of them.
Result<Table> load_npy_samples(const std::filesystem::path& samples, const std::string& key);
Result<bool> is_numpy(const std::filesystem::path& path);
Result<bool> is_npz(const std::filesystem::path& path);

// Whether a folder of CIFAR files has a test file; a file has none.
Result<bool> cifar_has_test(const std::filesystem::path& path);

// Samples of `context` bytes, or of all of a shorter file; what is left behind the last whole
// sample is not used.
Result<Table> load_text_inputs(const std::filesystem::path& file, std::int64_t context);

// Classes: samples around one seeded center a class; bce takes two classes as targets 0 and 1.
// Samples of a shape [channels, height, width] are a class's smooth pattern, shifted by a distance
// of the sample's own, plus noise. mse, huber: targets are a seeded linear map of the features plus
// noise. Test samples continue the stream.
Result<Dataset> make_synthetic(const job::Data& spec, job::Loss loss, std::uint64_t seed);

// Keeps several pieces of memory alive as one.
std::shared_ptr<const void> keep_all(std::vector<std::shared_ptr<const void>> pieces);

}  // namespace instep::data
