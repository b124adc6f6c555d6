// Text that goes to and comes from files and pipes beside the protocol: records as JSON lines, the
// lines of a program's output, the end of a log.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace instep::coord {

// A file of JSON lines, appended to.
class Records {
 public:
  Records() = default;
  ~Records();
  Records(Records&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  Records& operator=(Records&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  static Result<Records> open(const std::filesystem::path& path);
  void add(const nlohmann::json& record);
  // To the file; false if it cannot be written.
  bool flush();

 private:
  std::FILE* file_ = nullptr;
};

// Cuts a stream into lines. A line beyond 64 KiB is handed on in pieces.
class LineCutter {
 public:
  using Sink = std::function<void(std::string_view line)>;
  void add(std::string_view bytes, const Sink& sink);
  void finish(const Sink& sink);  // the last line may have no end

 private:
  std::string partial_;
};

// The last lines of what a log got since it had `from` bytes: at most 12 lines and 4 KiB, each
// indented.
std::string tail(const std::filesystem::path& path, std::uint64_t from);

}  // namespace instep::coord
