// One log a process: to stderr, and to a file once open_log() was called. Any thread may log.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace instep {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines go to `path` from now on (appended, flushed a line at a time); warnings and errors go to
// stderr too unless `quiet`.
Status open_log(const std::filesystem::path& path, bool quiet);
void log(LogLevel level, std::string_view line);

}  // namespace instep
