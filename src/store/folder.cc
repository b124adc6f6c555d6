#include "store/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

namespace instep::store {
namespace {

constexpr std::string_view kPrefix = "round-";
constexpr std::size_t kDigits = 10;
constexpr std::size_t kMaxNameBytes = 255;
constexpr std::uint64_t kMaxManifestBytes = 16 << 20;
constexpr std::size_t kPieceBytes = 1 << 20;

Error corrupt(std::string message) { return {ErrorKind::kCorrupt, std::move(message)}; }

std::string folder_name(std::uint64_t round) {
  const std::string digits = std::to_string(round);
  return cat(kPrefix, std::string(kDigits - std::min(kDigits, digits.size()), '0'), digits);
}

bool parse_folder_name(const std::string& name, std::uint64_t& round) {
  if (!name.starts_with(kPrefix)) return false;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, round);
  return error == std::errc() && stop == end && folder_name(round) == name;
}

struct OpenFile {
  Fd fd;
  std::uint64_t bytes = 0;
};

// Not blocking: a pipe in the file's place must not hang a resume.
Result<OpenFile> open_regular(const std::filesystem::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return os_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return os_error("read", path, errno);
  if (!S_ISREG(info.st_mode)) return corrupt(cat(path.string(), " is no regular file"));
  return OpenFile{std::move(fd), static_cast<std::uint64_t>(info.st_size)};
}

}  // namespace

bool is_file_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         !name.starts_with(kManifestName) && std::all_of(name.begin(), name.end(), [](char c) {
           return c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
         });
}

std::filesystem::path checkpoint_folder(const std::filesystem::path& run_dir, std::uint64_t round) {
  return run_dir / kCheckpointsName / folder_name(round);
}

bool has_manifest(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kManifestName, ignored);
}

Result<std::vector<Folder>> list_folders(const std::filesystem::path& run_dir) {
  const std::filesystem::path parent = run_dir / kCheckpointsName;
  std::vector<Folder> found;
  std::error_code error;
  if (!std::filesystem::is_directory(run_dir, error)) {
    return Error{ErrorKind::kNotFound, cat("there is no run directory ", run_dir.string())};
  }
  std::filesystem::directory_iterator entries(parent, error);
  if (error == std::errc::no_such_file_or_directory) return found;
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    Folder folder;
    std::error_code ignored;
    if (parse_folder_name(entries->path().filename().string(), folder.round) &&
        entries->symlink_status(ignored).type() == std::filesystem::file_type::directory) {
      folder.path = entries->path();
      folder.finished = has_manifest(folder.path);
      found.push_back(std::move(folder));
    }
  }
  if (error) return os_error("list", parent, error.value());
  std::sort(found.begin(), found.end(),
            [](const Folder& a, const Folder& b) { return a.round > b.round; });
  return found;
}

Result<Manifest> read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestName;
  INSTEP_RETURN_IF_ERROR(open_regular(path).status());
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxManifestBytes));
  return manifest_from_json(text, path);
}

Status check_sizes(const std::filesystem::path& folder, const Manifest& manifest) {
  for (const Manifest::File& file : manifest.files) {
    const Result<OpenFile> found = open_regular(folder / file.name);
    if (!found.ok()) {
      if (found.error().kind == ErrorKind::kNotFound) {
        return corrupt(cat((folder / file.name).string(), " is missing"));
      }
      return found.error();
    }
    if (found->bytes != file.bytes) {
      return corrupt(cat((folder / file.name).string(), " has ", found->bytes, " bytes, not ",
                         file.bytes, " as when it was saved"));
    }
  }
  return {};
}

Status check_content(const std::filesystem::path& folder, const Manifest& manifest) {
  for (const Manifest::File& file : manifest.files) {
    INSTEP_ASSIGN_OR_RETURN(const Manifest::File found, digest_file(folder, file.name));
    if (found.bytes != file.bytes || found.sha256 != file.sha256) {
      return corrupt(cat((folder / file.name).string(),
                         " is not as it was saved: its SHA-256 differs from the manifest's"));
    }
  }
  return {};
}

Result<Manifest::File> digest_file(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path path = folder / name;
  INSTEP_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  std::vector<std::byte> piece(kPieceBytes);
  Sha256 hash;
  std::uint64_t bytes = 0;
  while (true) {
    const ssize_t got = ::read(file.fd.get(), piece.data(), piece.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      return os_error("read", path, errno);
    }
    if (got == 0) break;
    hash.update(std::span(piece).first(static_cast<std::size_t>(got)));
    bytes += static_cast<std::uint64_t>(got);
  }
  return Manifest::File{.name = name, .sha256 = hash.hex(), .bytes = bytes};
}

Status remove_folder(const std::filesystem::path& folder) {
  const std::filesystem::path manifest = folder / kManifestName;
  if (::unlink(manifest.c_str()) == 0) {
    INSTEP_RETURN_IF_ERROR(sync_folder(folder));
  } else if (errno != ENOENT) {
    return os_error("remove", manifest, errno);
  }
  if (const int error = failpoint("checkpoint.remove")) return os_error("remove", folder, error);
  // One that has left the run meanwhile may still be about to create its few files there.
  constexpr int kTries = 1000;
  std::error_code error;
  for (int i = 0; i < kTries; ++i) {
    std::filesystem::remove_all(folder, error);
    if (error != std::errc::directory_not_empty) break;
  }
  if (error) return os_error("remove", folder, error.value());
  return {};
}

}  // namespace instep::store
