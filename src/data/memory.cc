#include "data/memory.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/machine.h"
#include "base/text.h"

namespace instep::data {
namespace {

// Deflate's best case is 258 bytes from 2 bits.
constexpr std::uint64_t kMaxDeflateRatio = 1032;
constexpr std::uint64_t kGzipMinBytes = 18;         // header and trailer of an empty member
constexpr std::uint64_t kUncheckedBytes = 1 << 24;  // not worth asking how much memory there is

// Opened for reading, and its size. A pipe without a writer does not block.
struct OpenFile {
  Fd fd;
  std::uint64_t size = 0;
};

Result<OpenFile> open_regular(const std::filesystem::path& path) {
  OpenFile out;
  out.fd = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!out.fd.valid()) return os_error("open", path, errno);
  struct stat info {};
  if (::fstat(out.fd.get(), &info) != 0) return os_error("read", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return invalid(cat(path.string(), " is not a regular file; a dataset file is due here"));
  }
  out.size = static_cast<std::uint64_t>(info.st_size);
  return out;
}

// Fills `to` from the file's beginning.
Status fill(const Fd& fd, const std::filesystem::path& path, std::byte* to, std::uint64_t bytes) {
  for (std::uint64_t filled = 0; filled < bytes;) {
    const ssize_t got = ::read(fd.get(), to + filled, bytes - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("read", path, errno);
    if (got == 0) return invalid(cat(path.string(), " was cut short while it was being read"));
    filled += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<Bytes> read_plain(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  if (file.size == 0) return invalid(cat(path.string(), " is empty"));
  Bytes out;
  out.size = file.size;
  INSTEP_ASSIGN_OR_RETURN(out.memory, allocate(out.size, path.string()));
  INSTEP_RETURN_IF_ERROR(fill(file.fd, path, out.memory.get(), out.size));
  return out;
}

bool is_gzip(const Bytes& bytes) {
  return bytes.size >= 2 && bytes.memory.get()[0] == std::byte{0x1f} &&
         bytes.memory.get()[1] == std::byte{0x8b};
}

Result<Bytes> unpack(const std::filesystem::path& path, const Bytes& packed) {
  constexpr const char* kAdvice = "; fetch the file again, or unpack it with gunzip to see more";
  if (packed.size < kGzipMinBytes) {
    return invalid(cat(path.string(), " is a truncated gzip file of ", packed.size, " bytes"));
  }
  // The trailer holds the size modulo 2^32; the first candidate above it that fits is the size.
  std::uint32_t claimed = 0;
  std::memcpy(&claimed, packed.memory.get() + packed.size - sizeof(claimed), sizeof(claimed));
  const std::uint64_t plausible = deflated_at_most(packed.size);
  if (claimed > plausible) {
    return invalid(cat(path.string(), " is no whole gzip file: its end claims ", claimed,
                       " bytes unpacked, but ", packed.size, " packed bytes can hold at most ",
                       plausible, "; it is truncated or has trailing bytes", kAdvice));
  }
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), &libdeflate_free_decompressor);
  if (!inflater) return Error{ErrorKind::kNoMemory, cat("no memory to unpack ", path.string())};
  for (Bytes out{nullptr, claimed}; out.size <= plausible; out.size += std::uint64_t{1} << 32) {
    INSTEP_ASSIGN_OR_RETURN(out.memory, allocate(std::max<std::uint64_t>(out.size, 1),
                                                 cat(path.string(), " unpacked")));
    std::size_t used = 0;
    std::size_t made = 0;
    const libdeflate_result result = libdeflate_gzip_decompress_ex(
        inflater.get(), packed.memory.get(), packed.size, out.memory.get(), out.size, &used, &made);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE) continue;
    if (result != LIBDEFLATE_SUCCESS) break;
    if (used != packed.size) {
      return invalid(cat(path.string(), " has ", packed.size - used,
                         " trailing bytes after its gzip data; one gzip member is due", kAdvice));
    }
    out.size = made;
    return out;
  }
  return invalid(cat(path.string(), " is corrupt or truncated gzip data", kAdvice));
}

}  // namespace

Result<Memory> allocate(std::uint64_t bytes, const std::string& what) {
  if (bytes > kUncheckedBytes) {
    const std::uint64_t available = available_memory();
    if (bytes > available) {
      return Error{ErrorKind::kNoMemory, cat("too little memory: ", what, " needs ",
                                             human_bytes(static_cast<double>(bytes)), ", and ",
                                             human_bytes(static_cast<double>(available)),
                                             " are free; use less data or a larger machine")};
    }
  }
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return os_error("take memory for", what, errno);
  // Huge pages save most of the page faults; a system without them loses nothing.
  if (bytes > kUncheckedBytes) ::madvise(at, bytes, MADV_HUGEPAGE);
  return Memory(static_cast<std::byte*>(at), [bytes](std::byte* start) { ::munmap(start, bytes); });
}

Result<Memory> allocate_array(std::uint64_t count, std::uint64_t width, std::uint64_t item_bytes,
                              const std::string& what) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, width, &bytes) ||
      __builtin_mul_overflow(bytes, item_bytes, &bytes)) {
    return Error{ErrorKind::kNoMemory, cat("too little memory: ", what, " needs ", count, " x ",
                                           width, " values of ", item_bytes, " bytes")};
  }
  return allocate(std::max<std::uint64_t>(bytes, 1), what);
}

Result<std::string> read_beginning(const std::filesystem::path& path, std::size_t most) {
  INSTEP_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  std::string out(std::min<std::uint64_t>(most, file.size), '\0');
  INSTEP_RETURN_IF_ERROR(fill(file.fd, path, reinterpret_cast<std::byte*>(out.data()), out.size()));
  return out;
}

std::uint64_t deflated_at_most(std::uint64_t packed_bytes) {
  std::uint64_t out = 0;
  return __builtin_mul_overflow(packed_bytes, kMaxDeflateRatio, &out) ? ~std::uint64_t{0} : out;
}

Result<Bytes> read_bytes(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(Bytes bytes, read_plain(path));
  if (!is_gzip(bytes)) return bytes;
  return unpack(path, bytes);
}

}  // namespace instep::data
