#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "coord/process.h"
#include "coord/run_dir.h"
#include "fabric/host_memory.h"
#include "member/decide.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

bool is_special(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

}  // namespace

int fail(const Error& error) {
  log(LogLevel::kError, error.message);
  return member::exit_code(error.kind);
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  constexpr int kWidest = 1000;
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto width = static_cast<std::size_t>(columns(fit(row[i], kWidest)));
      widths[i] = std::max(widths[i], width);
    }
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = fit(row[i], kWidest);
      line += cell + std::string(widths[i] - static_cast<std::size_t>(columns(cell)) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::puts(line.c_str());
  }
}

std::vector<std::string> environment_sets() {
  const char* text = std::getenv("INSTEP_SET");
  return text == nullptr ? std::vector<std::string>() : job::split_sets(text);
}

Result<fs::path> job_file(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return fs::path(path);
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".toml") found.push_back(entry.path());
  }
  if (found.size() == 1) return found.front();
  return Error{ErrorKind::kNotFound, cat("the folder ", path, " holds ", found.size(),
                                         " files *.toml; name one job file")};
}

Result<fs::path> agent_program() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path agent =
      (self.parent_path() / ".." / "libexec" / "instep" / "instep-agent").lexically_normal();
  if (auto found = coord::find_program(agent.string()); found.ok()) return found;
  return Error{ErrorKind::kInternal, cat("the agent program ", agent.string(),
                                         " is missing; build or install instep again")};
}

Result<std::uint32_t> agent_count(const Options& options, std::int64_t threads,
                                  std::int64_t shards) {
  const std::int64_t cpus = usable_cpu_count();
  const std::int64_t room = std::clamp<std::int64_t>(
      std::min(cpus / std::max<std::int64_t>(1, threads), shards), 1, fabric::kMaxSlots);
  const auto agents = options.agents.value_or(static_cast<std::uint32_t>(room));
  if (agents < 1 || agents > fabric::kMaxSlots) {
    return invalid(cat("-n ", agents, ": a host holds 1 to ", fabric::kMaxSlots, " agents"));
  }
  if (!options.quiet && agents > 1 && agents * threads > cpus) {
    log(LogLevel::kWarning,
        cat(agents, " agents with ", threads, threads == 1 ? " thread" : " threads", " each share ",
            cpus, cpus == 1 ? " processor" : " processors", ": they will wait for each other; -n ",
            room, " would use each processor once"));
  }
  return agents;
}

Result<AgentRange> parse_agents(const std::string& text) {
  const auto wrong = [&text](const std::string& allowed) {
    return invalid(cat("found '", text, "'; allowed: ", allowed));
  };
  const std::string form = cat("a number of agents, 1 to ", fabric::kMaxSlots, ", or MIN:MAX");
  const auto read = [](const std::string& word) -> std::optional<std::uint32_t> {
    std::uint32_t agents = 0;
    const char* end = word.data() + word.size();
    const auto done = std::from_chars(word.data(), end, agents);
    const bool whole = done.ec == std::errc() && done.ptr == end;
    if (!whole || agents < 1 || agents > fabric::kMaxSlots) return std::nullopt;
    return agents;
  };
  const std::size_t colon = text.find(':');
  const auto most = read(text.substr(colon == std::string::npos ? 0 : colon + 1));
  if (!most) return wrong(form);
  if (colon == std::string::npos) return AgentRange{1, *most};
  const auto least = read(text.substr(0, colon));
  if (!least) return wrong(form);
  if (*least > *most) return wrong("MIN:MAX with MIN at most MAX");
  return AgentRange{*least, *most};
}

Status check_report(const std::string& path) {
  if (path.empty() || is_special(path)) return {};
  std::error_code error;
  if (fs::is_directory(path, error)) return invalid(cat("--report ", path, " is a folder"));
  // As it will be written: beside the file, then renamed.
  const std::string trial = path + ".tmp";
  const Fd fd(::open(trial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    Error failed = os_error("write the report to", path, errno);
    failed.message += "; choose another file for --report";
    return failed;
  }
  ::unlink(trial.c_str());
  return {};
}

Status write_report(const std::string& path, const std::string& report) {
  if (path.empty()) return {};
  if (!is_special(path)) return write_file_atomically(path, report);
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return os_error("write the report to", path, errno);
  std::string_view rest = report;
  while (!rest.empty()) {
    const ssize_t put = ::write(fd.get(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return os_error("write the report to", path, errno);
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<fs::path> find_checkpoint(const std::string& target) { return coord::find_run(target); }

}  // namespace instep::cli
