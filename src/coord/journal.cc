#include "coord/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/failpoint.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"

namespace instep::coord {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMost = std::uint64_t{64} << 20;
constexpr std::uint64_t kRewriteAt = std::uint64_t{4} << 20;
// A coordinator ends with its launcher, but not at once.
constexpr std::int64_t kLockLimit = 5 * kSecond;
constexpr auto kLockAgain = std::chrono::milliseconds(5);

Result<Fd> open_locked(const fs::path& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return os_error("open", path, errno);
  const std::int64_t until = monotonic_ns() + kLockLimit;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return os_error("lock", path, errno);
    if (monotonic_ns() >= until) {
      return Error{ErrorKind::kTaken, cat(path.string(), " is held by another coordinator")};
    }
    std::this_thread::sleep_for(kLockAgain);
  }
  return file;
}

}  // namespace

Result<JournalFile> JournalFile::open(const fs::path& path) {
  INSTEP_ASSIGN_OR_RETURN(Fd file, open_locked(path));
  JournalFile out(path, std::move(file));
  INSTEP_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMost));
  auto journal = member::read_journal(std::as_bytes(std::span(content)));
  if (!journal.ok()) {
    return Error{journal.error().kind, cat(path.string(), ": ", journal.error().message,
                                           "; move it away if it is of no use to you")};
  }
  out.newest_ = std::move(journal->newest);
  out.end_ = journal->whole;
  if (out.end_ != content.size() && ::ftruncate(out.file_.get(), off_t(out.end_)) != 0) {
    return os_error("cut", path, errno);
  }
  return out;
}

Status JournalFile::append(std::span<const std::byte> bytes) {
  if (const int error = failpoint("journal.write")) return os_error("write", path_, error);
  // In two parts for a test that ends the process between them.
  const std::size_t half = bytes.size() / 2;
  INSTEP_RETURN_IF_ERROR(write_at(file_.get(), end_, bytes.first(half), path_));
  failpoint("journal.torn");
  INSTEP_RETURN_IF_ERROR(write_at(file_.get(), end_ + half, bytes.subspan(half), path_));
  end_ += bytes.size();
  return {};
}

Status JournalFile::write(const member::Record& record) {
  if (end_ > kRewriteAt || end_ == 0) return rewrite(record);
  Status written = append(member::to_entry(record));
  // What is torn would be taken for the end; a disk that is full lets go of it all the same.
  if (!written.ok() && ::ftruncate(file_.get(), off_t(end_)) != 0) {
    return os_error("cut", path_, errno);
  }
  return written;
}

Status JournalFile::rewrite(const member::Record& record) {
  if (const int error = failpoint("journal.write")) return os_error("write", path_, error);
  const std::vector<std::byte> entry = member::to_entry(record);
  std::string content(member::kJournalHead);
  content.append(reinterpret_cast<const char*>(entry.data()), entry.size());
  INSTEP_RETURN_IF_ERROR(write_file_atomically(path_, content));
  INSTEP_ASSIGN_OR_RETURN(file_, open_locked(path_));
  end_ = content.size();
  return {};
}

}  // namespace instep::coord
