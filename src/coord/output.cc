#include "coord/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/text.h"
#include "coord/report.h"

namespace instep::coord {

Records::~Records() {
  if (file_ != nullptr) std::fclose(file_);
}

Result<Records> Records::open(const std::filesystem::path& path) {
  Records records;
  records.file_ = std::fopen(path.c_str(), "ae");
  if (records.file_ == nullptr) return os_error("write", path, errno);
  return records;
}

void Records::add(const nlohmann::json& record) {
  if (file_ == nullptr) return;
  const std::string line = to_line(record) + "\n";
  std::fwrite(line.data(), 1, line.size(), file_);
}

bool Records::flush() {
  if (file_ == nullptr) return true;
  const bool written = std::fflush(file_) == 0 && std::ferror(file_) == 0;
  std::clearerr(file_);
  return written;
}

void LineCutter::add(std::string_view bytes, const Sink& sink) {
  constexpr std::size_t kMostBytes = 64 << 10;
  for (const char c : bytes) {
    if (c == '\n' || partial_.size() >= kMostBytes) {
      sink(partial_);
      partial_.clear();
    }
    if (c != '\n') partial_ += c;
  }
}

void LineCutter::finish(const Sink& sink) {
  if (!partial_.empty()) sink(partial_);
  partial_.clear();
}

std::string tail(const std::filesystem::path& path, std::uint64_t from) {
  constexpr std::uint64_t kMostBytes = 4096;
  constexpr std::size_t kMostLines = 12;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return "";
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t begin = std::max(from, size > kMostBytes ? size - kMostBytes : 0);
  if (begin >= size) return "";
  std::string text(size - begin, '\0');
  const ssize_t got = ::pread(fd.get(), text.data(), text.size(), static_cast<off_t>(begin));
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  std::vector<std::string> lines;
  LineCutter cutter;
  const auto keep = [&lines](std::string_view line) { lines.push_back(cat("    ", line)); };
  cutter.add(text, keep);
  cutter.finish(keep);
  if (begin > from && !lines.empty()) lines.erase(lines.begin());  // it may be half a line
  if (lines.size() > kMostLines) lines.erase(lines.begin(), lines.end() - kMostLines);
  return join(lines, "\n");
}

}  // namespace instep::coord
