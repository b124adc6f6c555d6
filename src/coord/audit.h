// The append-only record of who came to a run's hub, who was let in, who left or was lost, who was
// refused and why: audit.jsonl in the run's directory, a line an event, written through to the disk
// before anything follows from it. `instep audit` reads it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::coord {

struct AuditEvent {
  std::string time;  // "2025-01-31 12:00:00", local
  // "listening", "enrolled", "joined", "refused", "turned away", "lost", "left", "waiting",
  // "went on", "gave up", "done", "failed", "token"
  std::string what;
  std::optional<std::uint32_t> host;
  std::string name, address, reason;
  std::uint64_t times = 1;  // of several alike, one after the other
};

class Audit {
 public:
  static Result<Audit> open(const std::filesystem::path& run_dir);

  // The time is filled in. An attack cannot fill the disk: of events alike in all but the address
  // only the first in a second is written, of strangers turned away or refused the first few, and a
  // later line says how many more there were.
  Status add(AuditEvent event, std::int64_t now_ns);

 private:
  explicit Audit(Fd file) : file_(std::move(file)) {}
  Status write(const AuditEvent& event);

  Fd file_;
  AuditEvent newest_;
  std::int64_t written_ns_ = 0;
  std::uint64_t unwritten_ = 0;  // since then
  bool mixed_ = false;           // some of them unlike it
  std::int64_t window_ns_ = 0;
  std::uint32_t strangers_ = 0;  // lines since the window began
};

// As JSON on one line, without its end: ASCII alone, whatever strangers have put into it.
std::string to_line(const AuditEvent& event);

// All events; a last line that is cut off is left out. kNotFound: the run has none.
Result<std::vector<AuditEvent>> read_audit(const std::filesystem::path& run_dir);

}  // namespace instep::coord
