// NPY, numpy's format of one array, and NPZ, a zip archive of several.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/array.h"
#include "data/memory.h"

namespace instep::data {

// What the Python dictionary in a file's header says.
struct NpyHeader {
  std::string type;  // "<f4": byte order, kind, bytes
  bool fortran_order = false;
  std::vector<std::int64_t> extents;
};

// `name` is what errors call the file.
Result<NpyHeader> parse_npy_header(std::string_view text, const std::string& name);

enum class Role { kSamples, kTargets };

// The array in the bytes of an NPY file of version 1 to 3, which are changed: values are brought to
// an Item where they stand. Samples: b1, u1, f4, f8. Targets: whole numbers too.
Result<Array> parse_npy(const Bytes& bytes, const std::string& name, Role role);

// Arrays of an NPZ archive by name. An array is unpacked only if its size fits what is packed and
// the memory that there is.
class NpzFile {
 public:
  static Result<NpzFile> open(const std::filesystem::path& path);
  Result<Array> read(const std::string& key, Role role) const;

 private:
  explicit NpzFile(std::string name, std::shared_ptr<struct zip> archive)
      : name_(std::move(name)), archive_(std::move(archive)) {}
  Result<std::uint64_t> find(const std::string& key) const;
  std::string names() const;  // of the arrays, for errors

  std::string name_;
  std::shared_ptr<struct zip> archive_;
};

}  // namespace instep::data
