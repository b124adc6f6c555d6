#include "coord/job_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

// Those that the job has, by their keys.
std::vector<std::pair<std::string, std::string>> named_files(const job::Job& job) {
  std::vector<std::pair<std::string, std::string>> out;
  if (!job.model.file.empty()) out.emplace_back("model.file", job.model.file);
  if (!job.model.init.empty()) out.emplace_back("model.init", job.model.init);
  return out;
}

fs::path folder_of(const fs::path& run_dir) { return run_dir / "files"; }

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

struct Opened {
  Fd fd;
  std::uint64_t bytes = 0;
};

Result<Opened> open_named(const std::string& key, const fs::path& path) {
  // Not blocking: the path may be a pipe that nobody writes to.
  Opened out{Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0};
  struct stat info {};
  if (!out.fd.valid() || ::fstat(out.fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Error{ErrorKind::kNotFound,
                 cat(key, ": ", path.string(), " is not there, or no file that can be read")};
  }
  out.bytes = static_cast<std::uint64_t>(info.st_size);
  if (out.bytes == 0) return invalid(cat(key, ": ", path.string(), " is empty"));
  if (out.bytes > kMaxJobFileBytes) {
    return invalid(cat(key, ": ", path.string(), " has ", human_bytes(double(out.bytes)),
                       ", and a file of at most ", human_bytes(double(kMaxJobFileBytes)),
                       " can travel to other hosts; train on this one alone (instep run), or name "
                       "a smaller file"));
  }
  return out;
}

// Reads it, into another one as well if there is one; its hash.
Result<std::string> read_all(const Opened& file, const fs::path& path, int into,
                             const fs::path& target) {
  Sha256 digest;
  std::vector<std::byte> piece(kPieceBytes);
  for (std::uint64_t at = 0; at < file.bytes;) {
    const auto bytes =
        std::span(piece).first(std::min<std::uint64_t>(piece.size(), file.bytes - at));
    INSTEP_RETURN_IF_ERROR(read_at(file.fd.get(), at, bytes, path));
    digest.update(bytes);
    if (into >= 0) INSTEP_RETURN_IF_ERROR(write_at(into, at, bytes, target));
    at += bytes.size();
  }
  return digest.hex();
}

// The one of this key, held to its name.
Result<std::optional<wire::HostFile>> find_kept(const std::string& key, const fs::path& run_dir) {
  const std::string prefix = key + "-";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of(run_dir), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !is_sha256(name.substr(prefix.size()))) continue;
    INSTEP_ASSIGN_OR_RETURN(const Opened file, open_named(key, entry.path()));
    INSTEP_ASSIGN_OR_RETURN(const std::string found, read_all(file, entry.path(), -1, {}));
    if (prefix + found != name) {
      return Error{ErrorKind::kCorrupt,
                   cat(key, ": ", entry.path().string(),
                       " is no longer the file that the run began with: its SHA-256 is ", found,
                       "; put that one back")};
    }
    return std::optional(wire::HostFile{key, file.bytes, found});
  }
  return std::optional<wire::HostFile>();
}

Result<wire::HostFile> keep(const std::string& key, const fs::path& path, const fs::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const Opened file, open_named(key, path));
  std::error_code error;
  fs::create_directories(folder_of(run_dir), error);
  if (error) return os_error("make the folder", folder_of(run_dir), error.value());
  const fs::path temporary = folder_of(run_dir) / (key + ".tmp");
  const Fd into(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!into.valid()) return os_error("create", temporary, errno);
  INSTEP_ASSIGN_OR_RETURN(std::string found, read_all(file, path, into.get(), temporary));
  INSTEP_RETURN_IF_ERROR(sync_file(into.get(), temporary));
  wire::HostFile out{key, file.bytes, std::move(found)};
  const fs::path place = kept_file(run_dir, out);
  if (::rename(temporary.c_str(), place.c_str()) != 0) return os_error("rename", temporary, errno);
  return out;
}

// A module is code: what the job was checked with is what runs.
Status is_the_jobs(const job::Job& job, const wire::HostFile& file) {
  const std::string& digest = job.model.file_sha256;
  if (file.key != "model.file" || digest.empty() || file.sha256 == digest) return {};
  return Error{ErrorKind::kMismatch,
               cat("model.file: ", job.model.file, " has the SHA-256 ", file.sha256,
                   ", and the job says ", digest, "; put that file back")};
}

}  // namespace

fs::path kept_file(const fs::path& run_dir, const wire::HostFile& file) {
  return folder_of(run_dir) / cat(file.key, "-", file.sha256);
}

LocalFiles local_files(const fs::path& run_dir, const std::vector<wire::HostFile>& files) {
  LocalFiles out;
  for (const wire::HostFile& file : files) out[file.key] = kept_file(run_dir, file).string();
  return out;
}

Result<std::vector<wire::HostFile>> keep_job_files(const job::Job& job, const fs::path& run_dir) {
  std::vector<wire::HostFile> out;
  for (const auto& [key, path] : named_files(job)) {
    INSTEP_ASSIGN_OR_RETURN(std::optional<wire::HostFile> file, find_kept(key, run_dir));
    if (!file) {
      INSTEP_ASSIGN_OR_RETURN(file, keep(key, path, run_dir));
    }
    INSTEP_RETURN_IF_ERROR(is_the_jobs(job, *file));
    out.push_back(std::move(*file));
  }
  return out;
}

Status check_job_files(const job::Job& job, const std::vector<wire::HostFile>& files) {
  const auto named = named_files(job);
  bool good = files.size() == named.size();
  for (std::size_t i = 0; good && i < files.size(); ++i) {
    const wire::HostFile& file = files[i];
    good = file.key == named[i].first && file.bytes > 0 && file.bytes <= kMaxJobFileBytes &&
           is_sha256(file.sha256);
  }
  if (!good) {
    return Error{ErrorKind::kCorrupt,
                 "the coordinator's list of the job's files does not go with its job"};
  }
  for (const wire::HostFile& file : files) INSTEP_RETURN_IF_ERROR(is_the_jobs(job, file));
  return {};
}

Result<LocalFiles> find_job_files(const job::Job& job, const fs::path& run_dir) {
  std::vector<wire::HostFile> found;
  for (const auto& [key, path] : named_files(job)) {
    INSTEP_ASSIGN_OR_RETURN(std::optional<wire::HostFile> file, find_kept(key, run_dir));
    if (file) found.push_back(std::move(*file));
  }
  return local_files(run_dir, found);
}

}  // namespace instep::coord
