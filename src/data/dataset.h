// A dataset: samples of one shape and their targets, in memory that may be shared by all agents of
// a host. Torch-free. Sample numbers are global over the file, 0…size-1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "job/job.h"

namespace instep::data {

// kTokens: `values` is one stream of bytes, shape is {tokens of a sample}; sample i is the bytes
// from i * tokens on, and the target of each byte is the one after it. Then classes and targets are
// null and class_count is 256.
enum class Kind : std::uint32_t { kU8, kF32, kTokens };

// One table. `values` and the targets point into memory that `keep` holds (owned or mapped).
struct Table {
  std::uint64_t size = 0;
  Kind kind = Kind::kF32;
  std::vector<std::int64_t> shape;        // of one sample, without the batch
  const std::byte* values = nullptr;      // size * elements() of `kind`; of tokens one more
  const std::int32_t* classes = nullptr;  // size, or null for a regression
  const float* targets = nullptr;         // size * target_width, or null for classes
  std::int64_t target_width = 0;
  std::int64_t class_count = 0;
  float scale = 1, shift = 0;  // x = stored * scale + shift
  std::shared_ptr<const void> keep;

  std::uint64_t elements() const;  // of one sample
  // The classes by sample; empty if the targets are none.
  std::span<const std::int32_t> class_span() const;
};

// The numbers of the first samples: 0 to count - 1.
std::vector<std::uint64_t> first_samples(std::uint64_t count);
// "3 x 32 x 32".
std::string shape_text(const std::vector<std::int64_t>& extents);

struct Dataset {
  Table train, test;  // test.size may be 0
};

// Loads what the job's [data] names. Each fault is one error with file and line or sample number:
// missing, truncated, corrupt, label out of range, ragged CSV row, text where a number is due.
// `loss` decides whether targets are classes (cross-entropy) or floats (mse, bce; labels become
// floats). spec.scale and shift are taken as they are; spec.limit and test_limit keep the first
// samples. Both tables have one class_count: spec.classes, or the largest label of both plus 1.
Result<Dataset> load(const job::Data& spec, job::Loss loss, std::uint64_t seed);

// That a test set is asked of the data (split.test) only where they bring none.
Status check_split(const Dataset& dataset, const job::Split& split);

// The IDX and CSV readers by themselves, for programs with their own loop. Both read gzip too. IDX:
// samples u8 (then scale is 1/255) or f32, targets u8 or i32 labels or f32 values. CSV:
// comma-separated, quoted fields, LF or CRLF; spec gives header, target_column (a name of the
// header, a number from 1, or empty for the last), classes, scale and shift.
Result<Table> load_idx(const std::filesystem::path& samples, const std::filesystem::path& targets);
Result<Table> load_csv(const std::filesystem::path& file, const job::Data& spec, job::Loss loss);

// NPY: two files, or the arrays of these names in an NPZ file. Samples are bytes (u1, bool; then
// scale is 1/255) or f4, f8; targets whole numbers of any width, or f4, f8. Little-endian and in C
// order; objects are never unpickled.
Result<Table> load_npy(const std::filesystem::path& samples, const std::filesystem::path& targets);
Result<Table> load_npz(const std::filesystem::path& file, const std::string& samples_key,
                       const std::string& targets_key);

// CIFAR-10 or CIFAR-100 in the binary version: samples of [3, 32, 32] bytes, scale 1/255, fine
// labels. A file, or a folder with data_batch_*.bin [and test_batch.bin] or train.bin [and
// test.bin], whose test file is read where `test` says so.
Result<Table> load_cifar(const std::filesystem::path& path, bool test);

// A file's bytes as tokens, `context` a sample. One that is too short for a sample and the target
// of its last byte is an error.
Result<Table> load_text(const std::filesystem::path& file, std::int64_t context);

// Samples without targets, to predict, as the job's data has them: an IDX file of samples; an NPY
// file or the samples_key of an NPZ; a CIFAR file, or images in an NPY or NPZ file; a text, in
// samples of data.context bytes or all of a shorter one; else a CSV file whose columns are features
// only. A sample must have `elements` values (0: any number; text is not judged).
Result<Table> load_inputs(const std::filesystem::path& file, const job::Data& spec,
                          std::uint64_t elements);

// One image of a dataset in an anonymous memory file, and back without a copy: the launcher decodes
// once and every agent of the host maps it read-only. The image is sealed where the system can;
// map_image() checks all bounds and labels, and keeps no use of the descriptor.
Result<Fd> make_image(const Dataset& dataset);
Result<Dataset> map_image(const Fd& image);

// Copies samples to a batch: x[i] = values[samples[i]] * scale + shift. Out spans have exactly
// samples.size() * elements(), and one class or target_width floats a sample.
void gather(const Table& table, std::span<const std::uint64_t> samples, float* x);
// Tokens: x and y are [samples, tokens]; y may be null.
void gather_tokens(const Table& table, std::span<const std::uint64_t> samples, std::int64_t* x,
                   std::int64_t* y);
void gather_classes(const Table& table, std::span<const std::uint64_t> samples, std::int64_t* y);
void gather_targets(const Table& table, std::span<const std::uint64_t> samples, float* y);

}  // namespace instep::data
