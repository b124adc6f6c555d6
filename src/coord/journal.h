// The coordinator's journal as a file (member/coordinator.h): one process writes it, and every
// entry is there before what it says is done.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/result.h"
#include "member/coordinator.h"

namespace instep::coord {

class JournalFile {
 public:
  // Makes it or goes on with it; what is torn at its end is cut off. kTaken if another process
  // writes it, and goes on doing so for a while.
  static Result<JournalFile> open(const std::filesystem::path& path);

  const std::optional<member::Record>& newest() const { return newest_; }  // as it was opened
  // Appends an entry. A death of the process loses nothing of it, one of the machine may. After an
  // error the file is as it was.
  Status write(const member::Record& record);
  // Writes it in the place of all before, and waits for the disk.
  Status rewrite(const member::Record& record);

 private:
  JournalFile(std::filesystem::path path, Fd file)
      : path_(std::move(path)), file_(std::move(file)) {}
  Status append(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  Fd file_;
  std::uint64_t end_ = 0;
  std::optional<member::Record> newest_;
};

}  // namespace instep::coord
