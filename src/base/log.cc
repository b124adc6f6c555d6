#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

#include "base/text.h"

namespace instep {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_level(spdlog::level::warn);
    sink->set_pattern("instep: %v");
    auto made = std::make_shared<spdlog::logger>("instep", std::move(sink));
    made->set_level(spdlog::level::debug);
    return made;
  }();
  return instance;
}

}  // namespace

Status open_log(const std::filesystem::path& path, bool quiet) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    logger()->sinks().push_back(std::move(sink));
    logger()->flush_on(spdlog::level::debug);
    if (quiet) logger()->sinks().front()->set_level(spdlog::level::err);
  } catch (const spdlog::spdlog_ex& error) {
    return Error{ErrorKind::kInternal, cat("cannot log to ", path.string(), ": ", error.what())};
  }
  return {};
}

void log(LogLevel level, std::string_view line) { logger()->log(to_spdlog(level), "{}", line); }

}  // namespace instep
