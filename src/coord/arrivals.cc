#include "coord/arrivals.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/machine.h"
#include "base/text.h"
#include "coord/job_files.h"

namespace instep::coord {
namespace fs = std::filesystem;

std::optional<wire::HostWants> Arrivals::wants() const {
  if (now_ == files_.size() + (has_dataset_ ? 1 : 0)) return std::nullopt;
  return wire::HostWants{static_cast<std::uint32_t>(now_), there_};
}

Result<std::span<std::byte>> Arrivals::place(const fabric::FrameHead& head) {
  const auto due = wants();
  if (!due || head.c != due->goods || head.a != due->from || head.size == 0) {
    return Error{ErrorKind::kCorrupt, "the coordinator sent goods out of turn"};
  }
  if (!is_file()) return place_in_dataset(head);
  const std::uint64_t bytes = files_[now_].bytes;
  if (head.b != bytes || head.size > bytes - there_) {
    return Error{ErrorKind::kCorrupt, "the coordinator sent another file than it has told of"};
  }
  if (!file_.valid()) INSTEP_RETURN_IF_ERROR(begin_file());
  piece_.resize(head.size);
  return std::span(piece_);
}

// Its size is known when its first byte comes: the first host was still decoding it.
Result<std::span<std::byte>> Arrivals::place_in_dataset(const fabric::FrameHead& head) {
  if (dataset_map_.data() == nullptr) {
    const std::uint64_t free = available_memory();
    if (head.b > free) {
      return Error{ErrorKind::kNoMemory,
                   cat("too little memory for the job's data: ", human_bytes(double(head.b)), ", ",
                       human_bytes(double(free)), " are free")};
    }
    INSTEP_ASSIGN_OR_RETURN(dataset_, make_memory_file("instep-data", head.b));
    INSTEP_ASSIGN_OR_RETURN(dataset_map_, fabric::Mapping::map(dataset_, true));
    dataset_bytes_ = head.b;
  }
  if (head.b != dataset_bytes_ || head.size > dataset_bytes_ - there_) {
    return Error{ErrorKind::kCorrupt, "the coordinator sent other data than it has begun"};
  }
  return std::span(dataset_map_.data() + there_, head.size);
}

Status Arrivals::took(const fabric::FrameHead& head) {
  // For which place() was not asked.
  if (head.size == 0) return Error{ErrorKind::kCorrupt, "the coordinator sent an empty piece"};
  if (is_file()) {
    digest_->update(piece_);
    INSTEP_RETURN_IF_ERROR(write_at(file_.get(), there_, piece_, temporary()));
  }
  there_ += head.size;
  if (there_ < head.b) return {};
  if (is_file()) INSTEP_RETURN_IF_ERROR(end_file());
  ++now_;
  there_ = 0;
  return {};
}

fs::path Arrivals::temporary() const {
  return kept_file(run_dir_, files_[now_]).replace_filename(files_[now_].key + ".tmp");
}

Status Arrivals::begin_file() {
  const fs::path path = temporary();
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return os_error("make the folder", path.parent_path(), error.value());
  file_ = Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file_.valid()) return os_error("create", path, errno);
  digest_.emplace();
  return {};
}

// Not synced to disk, which may take longer than others wait for a sign of life: after a crash of
// the machine the hash in its name tells whether it is whole.
Status Arrivals::end_file() {
  file_.reset();
  const wire::HostFile& file = files_[now_];
  const std::string found = digest_->hex();
  const fs::path path = temporary();
  if (found != file.sha256) {
    ::unlink(path.c_str());
    return Error{ErrorKind::kCorrupt,
                 cat(file.key, " has come with the SHA-256 ", found, ", and the first host's has ",
                     file.sha256, ": it was changed there since the run began")};
  }
  const fs::path place = kept_file(run_dir_, file);
  if (::rename(path.c_str(), place.c_str()) != 0) return os_error("rename", path, errno);
  return {};
}

}  // namespace instep::coord
