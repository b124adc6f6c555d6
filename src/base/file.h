// Files and descriptors: bounded reads, writes that are either whole or absent, errors that name
// the path. Every write goes through a failpoint (base/failpoint.h), so tests can break each one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace instep {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// The words of errno with the path and what was tried; ENOSPC and EDQUOT become kNoSpace, ENOENT
// kNotFound.
Error os_error(std::string_view what, const std::filesystem::path& path, int error_number);

// The whole file, refused above `limit` bytes.
Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t limit);

// Writes path.tmp, fsyncs it, renames it over path and fsyncs the folder. `mode`: of the new file.
Status write_file_atomically(const std::filesystem::path& path, std::string_view content,
                             unsigned mode = 0644);

// pwrite of everything, at an offset; a short write is an error with its reason.
Status write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                const std::filesystem::path& path);
// pread of as many bytes as `bytes` has, from an offset; kCorrupt where the file ends before.
Status read_at(int fd, std::uint64_t offset, std::span<std::byte> bytes,
               const std::filesystem::path& path);
Status sync_file(int fd, const std::filesystem::path& path);
Status sync_folder(const std::filesystem::path& folder);

// An anonymous shared-memory file (memfd): no name, nothing left behind. Close-on-exec.
Result<Fd> make_memory_file(const std::string& label, std::uint64_t bytes);

}  // namespace instep
