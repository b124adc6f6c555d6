// The writing side of a checkpoint: begin, files, commit.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/text.h"
#include "store/checkpoint.h"
#include "store/folder.h"

namespace instep::store {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::numeric_limits<off_t>::max();

// fallocate and not posix_fallocate: where a file system cannot, the latter writes a byte to each
// page, over what another process may have written there meanwhile. There a full disk shows at
// write.
int allocate(int fd, std::uint64_t bytes) {
  if (const int error = failpoint("file.allocate")) return error;
  while (bytes > 0 && ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EOPNOTSUPP || errno == ENOSYS) break;
    if (errno != EINTR) return errno;
  }
  return 0;
}

Status sync_path(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return os_error("open", path, errno);
  return sync_file(fd.get(), path);
}

}  // namespace

Result<bool> begin_checkpoint(const std::filesystem::path& run_dir, std::uint64_t round) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<Folder> folders, list_folders(run_dir));
  bool needed = true;
  for (const Folder& folder : folders) {
    if (folder.finished && folder.round != round) continue;
    if (folder.finished) {
      const Result<Found> found = open_checkpoint(folder.path);
      if (!found.ok() && found.error().kind == ErrorKind::kMismatch) return found.error();
      needed = !found.ok();
      if (!needed) continue;
    }
    INSTEP_RETURN_IF_ERROR(remove_folder(folder.path));
  }
  return needed;
}

Status remove_unfinished(const std::filesystem::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<Folder> folders, list_folders(run_dir));
  for (const Folder& folder : folders) {
    if (!folder.finished) INSTEP_RETURN_IF_ERROR(remove_folder(folder.path));
  }
  return {};
}

Result<CheckpointFile> CheckpointFile::open(const std::filesystem::path& folder,
                                            const std::string& name, std::uint64_t bytes) {
  INSTEP_CHECK(is_file_name(name), "a file of a checkpoint has a plain name");
  CheckpointFile file;
  file.path_ = folder / name;
  file.bytes_ = bytes;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return file.explained(os_error("create", folder, error.value()));
  if (has_manifest(folder)) {
    return Error{ErrorKind::kTaken,
                 cat(folder.string(), " holds a finished checkpoint, which is not written over")};
  }
  file.fd_ = Fd(::open(file.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.fd_.valid()) return file.explained(os_error("create", file.path_, errno));
  if (bytes > kMaxFileBytes) return file.explained(os_error("size", file.path_, EFBIG));
  if (::ftruncate(file.fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return file.explained(os_error("size", file.path_, errno));
  }
  if (const int failed = allocate(file.fd_.get(), bytes)) {
    // A part may have been taken; the run's logs need it more. This checkpoint has failed anyway.
    const Error full = file.explained(os_error("take disk space for", file.path_, failed));
    std::filesystem::resize_file(file.path_, 0, error);
    return full;
  }
  return file;
}

Error CheckpointFile::explained(Error error) const {
  if (error.kind != ErrorKind::kNoSpace) return error;
  struct statvfs disk {};
  std::string room;
  if (::statvfs(path_.parent_path().c_str(), &disk) == 0) {
    room = cat(", ", human_bytes(double(disk.f_bavail) * double(disk.f_frsize)), " are free there");
  }
  error.message += cat(" (this file needs ", human_bytes(double(bytes_)), room, ")");
  return error;
}

Status CheckpointFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  INSTEP_CHECK(offset <= bytes_ && bytes.size() <= bytes_ - offset,
               "a part of a checkpoint lies inside its file");
  const Status status = write_at(fd_.get(), offset, bytes, path_);
  return status.ok() ? status : explained(status.error());
}

Status CheckpointFile::sync() {
  const Status status = sync_file(fd_.get(), path_);
  return status.ok() ? status : explained(status.error());
}

Status commit(const std::filesystem::path& folder, Manifest manifest,
              const std::vector<std::string>& files) {
  if (has_manifest(folder)) {
    return Error{ErrorKind::kTaken, cat(folder.string(), " is a finished checkpoint already")};
  }
  manifest.format = kCheckpointFormat;
  manifest.files.clear();
  std::set<std::string> names;
  for (const std::string& name : files) {
    INSTEP_CHECK(is_file_name(name) && names.insert(name).second,
                 "files of a checkpoint have plain names of their own");
    INSTEP_RETURN_IF_ERROR(sync_path(folder / name));
    INSTEP_ASSIGN_OR_RETURN(Manifest::File file, digest_file(folder, name));
    manifest.files.push_back(std::move(file));
  }
  // The names on the way to the files are durable only when each folder that holds one is.
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  INSTEP_RETURN_IF_ERROR(sync_folder(whole));
  INSTEP_RETURN_IF_ERROR(sync_folder(whole.parent_path()));
  INSTEP_RETURN_IF_ERROR(sync_folder(whole.parent_path().parent_path()));
  if (const int error = failpoint("checkpoint.before_manifest")) {
    return os_error("write", folder / kManifestName, error);
  }
  INSTEP_RETURN_IF_ERROR(write_file_atomically(folder / kManifestName, to_json(manifest)));
  if (const int error = failpoint("checkpoint.after_manifest")) {
    return os_error("finish", folder / kManifestName, error);
  }
  return {};
}

}  // namespace instep::store
