#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/failpoint.h"
#include "base/text.h"

namespace instep {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Error os_error(std::string_view what, const std::filesystem::path& path, int error_number) {
  ErrorKind kind = ErrorKind::kInternal;
  std::string advice;
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    kind = ErrorKind::kNoSpace;
    advice = "; make room and try again";
  } else if (error_number == ENOENT) {
    kind = ErrorKind::kNotFound;
  } else if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    kind = ErrorKind::kInvalid;
    advice = "; check who may write there";
  } else if (error_number == ENOMEM) {
    kind = ErrorKind::kNoMemory;
  }
  return {kind,
          cat("cannot ", what, " ", path.string(), ": ", std::strerror(error_number), advice)};
}

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return os_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return os_error("read", path, errno);
  if (S_ISDIR(info.st_mode)) return os_error("read", path, EISDIR);
  std::string out;
  constexpr std::size_t kStep = 1 << 20;
  std::size_t filled = 0;
  while (true) {
    const std::size_t hint = static_cast<std::size_t>(info.st_size);
    out.resize(filled + (filled < hint ? hint - filled + 1 : kStep));
    const ssize_t got = ::read(fd.get(), out.data() + filled, out.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      return os_error("read", path, errno);
    }
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled > limit) {
      return invalid(cat(path.string(), " is larger than ", human_bytes(double(limit)),
                         ", the most that is read there"));
    }
  }
  out.resize(filled);
  return out;
}

Status write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                const std::filesystem::path& path) {
  if (const int error = failpoint("file.write")) return os_error("write", path, error);
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return os_error("write", path, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

Status read_at(int fd, std::uint64_t offset, std::span<std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return os_error("read", path, errno);
    }
    if (got == 0) return Error{ErrorKind::kCorrupt, cat(path.string(), " was cut short")};
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status sync_file(int fd, const std::filesystem::path& path) {
  if (const int error = failpoint("file.sync")) return os_error("sync", path, error);
  if (::fsync(fd) != 0) return os_error("sync", path, errno);
  return {};
}

Status sync_folder(const std::filesystem::path& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return os_error("open", folder, errno);
  return sync_file(fd.get(), folder);
}

Status write_file_atomically(const std::filesystem::path& path, std::string_view content,
                             unsigned mode) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!fd.valid()) return os_error("create", temporary, errno);
    INSTEP_RETURN_IF_ERROR(write_at(fd.get(), 0, std::as_bytes(std::span(content)), temporary));
    INSTEP_RETURN_IF_ERROR(sync_file(fd.get(), temporary));
  }
  if (const int error = failpoint("file.rename")) return os_error("rename", temporary, error);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return os_error("rename", temporary, errno);
  const std::filesystem::path parent = path.parent_path();
  return sync_folder(parent.empty() ? std::filesystem::path(".") : parent);
}

Result<Fd> make_memory_file(const std::string& label, std::uint64_t bytes) {
  Fd fd(::memfd_create(label.c_str(), MFD_CLOEXEC));
  if (!fd.valid()) return os_error("make shared memory", label, errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return os_error("size shared memory", label, errno);
  }
  return fd;
}

}  // namespace instep
