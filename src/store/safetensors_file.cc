#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "store/safetensors.h"
#include "store/safetensors_header.h"

namespace instep::store {
namespace {

Error bad(const std::filesystem::path& path, const Error& error) {
  return {error.kind, cat(path.string(), " is no whole safetensors file: ", error.message)};
}

Error bad(const std::filesystem::path& path, std::string message) {
  return bad(path, Error{ErrorKind::kCorrupt, std::move(message)});
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  // Not blocking: the path may be a pipe that nobody writes to.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return os_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return os_error("read", path, errno);
  if (!S_ISREG(info.st_mode)) return invalid(cat(path.string(), " is no regular file"));

  SafetensorsFile file;
  file.size_ = static_cast<std::uint64_t>(info.st_size);
  if (file.size_ < kLengthBytes) {
    return bad(path, cat("it has ", file.size_, " bytes, and the length of its header takes ",
                         kLengthBytes));
  }
  void* mapped = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return os_error("map", path, errno);
  file.map_ = std::shared_ptr<const std::byte>(
      static_cast<const std::byte*>(mapped),
      [mapped, size = file.size_](const std::byte*) { ::munmap(mapped, size); });

  std::uint64_t length = 0;
  for (std::uint64_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(file.map_.get()[i]) << (8 * i);
  }
  if (length > kMaxHeaderBytes) {
    return bad(path, cat("its header claims ", length, " bytes, at most ", kMaxHeaderBytes,
                         " are allowed"));
  }
  if (length > file.size_ - kLengthBytes) {
    return bad(path, cat("its header claims ", length, " bytes, but only ",
                         file.size_ - kLengthBytes, " follow; was the file cut short?"));
  }
  const std::string_view json(reinterpret_cast<const char*>(file.map_.get()) + kLengthBytes,
                              length);
  const std::uint64_t data_begin = kLengthBytes + length;
  Result<Header> header = parse_header(json, file.size_ - data_begin);
  if (!header.ok()) return bad(path, header.error());
  file.tensors_ = std::move(header->tensors);
  file.metadata_ = std::move(header->metadata);
  for (std::size_t i = 0; i < file.tensors_.size(); ++i) {
    file.tensors_[i].offset += data_begin;
    file.index_.emplace(file.tensors_[i].name, i);
  }
  return file;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &tensors_[at->second];
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const {
  INSTEP_CHECK(tensor.offset <= size_ && tensor.bytes <= size_ - tensor.offset,
               "a tensor's bytes lie inside the file it was found in");
  return {map_.get() + tensor.offset, tensor.bytes};
}

}  // namespace instep::store
