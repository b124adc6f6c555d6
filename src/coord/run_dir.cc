#include "coord/run_dir.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "base/log.h"
#include "base/text.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxInfoBytes = 1 << 20;

std::string format_now(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::string out(64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format, &local));
  return out;
}

// A job's name as part of a file name.
std::string as_file_name(const std::string& name) {
  std::string out;
  for (const char c : name.substr(0, 64)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    out += plain ? c : '_';
  }
  return out.empty() ? "run" : out;
}

// Not true of a process that has ended and nobody has asked for its exit code.
bool lives(std::int64_t pid) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!process.valid()) return false;
  pollfd polled{process.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 0;
}

Status make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return os_error("make the folder", path, error.value());
  return {};
}

bool has_content(const fs::path& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().filename() != "lock") return true;
  }
  return false;
}

std::string field(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> words(const Json& json, const char* key) {
  std::vector<std::string> out;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) return out;
  for (const Json& word : *found) {
    if (word.is_string()) out.push_back(word.get<std::string>());
  }
  return out;
}

std::int64_t count_field(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace

std::string timestamp() { return format_now("%Y-%m-%d %H:%M:%S"); }

Result<RunDir> RunDir::take(fs::path path, bool fresh, bool made) {
  const fs::path lock_path = path / "lock";
  Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.valid()) return os_error("create", lock_path, errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    const Result<RunInfo> info = read_info(path);
    const std::string by = info.ok() ? cat(" (process ", info->pid, ")") : "";
    return Error{ErrorKind::kTaken,
                 cat("the run directory ", path.string(), " is in use by a running instep", by,
                     "; choose another one or end that run with `instep stop`")};
  }
  if (fresh && has_content(path)) {
    return Error{ErrorKind::kTaken,
                 cat("the run directory ", path.string(),
                     " is not empty; choose another one, or go on with the run in it by "
                     "`instep resume ",
                     path.string(), "`")};
  }
  INSTEP_RETURN_IF_ERROR(make_folder(path / "logs"));
  INSTEP_RETURN_IF_ERROR(make_folder(path / "checkpoints"));
  return RunDir(std::move(path), std::move(lock), fresh, made);
}

Result<RunDir> RunDir::create(const std::optional<fs::path>& wanted, const std::string& job_name) {
  std::error_code error;
  if (wanted) {
    const fs::path path = fs::absolute(*wanted, error).lexically_normal();
    const bool made = !fs::exists(path, error);
    if (!made && !fs::is_directory(path, error)) {
      return Error{ErrorKind::kTaken, cat("--run-dir ", path.string(), " is not a folder")};
    }
    // Whose lock file and content decide: nothing is made in a folder that is somebody else's.
    if (!made && has_content(path) && !is_held(path)) {
      return Error{ErrorKind::kTaken,
                   cat("the run directory ", path.string(),
                       " is not empty; choose another one, or go on with the run in it by "
                       "`instep resume ",
                       path.string(), "`")};
    }
    INSTEP_RETURN_IF_ERROR(make_folder(path));
    return take(path, true, made);
  }
  const fs::path parent = fs::absolute("runs", error);
  INSTEP_RETURN_IF_ERROR(make_folder(parent));
  const std::string base = as_file_name(job_name) + format_now("-%Y%m%d-%H%M%S");
  constexpr int kMostTries = 1000;
  for (int k = 1; k <= kMostTries; ++k) {
    const fs::path path = parent / (k == 1 ? base : cat(base, "-", k));
    if (::mkdir(path.c_str(), 0755) == 0) return take(path, true, true);
    if (errno != EEXIST) return os_error("make the folder", path, errno);
  }
  return Error{ErrorKind::kTaken, cat("no free name like ", (parent / base).string())};
}

Result<RunDir> RunDir::reopen(const fs::path& path) {
  std::error_code error;
  // Orphaned agents end within two seconds; this is for a machine that is busy.
  constexpr auto kLongest = std::chrono::seconds(10);
  constexpr auto kAgain = std::chrono::milliseconds(10);
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (is_held(path) && std::chrono::steady_clock::now() < end) {
    const Result<RunInfo> info = read_info(path);
    if (!info.ok() || info->pid <= 0 || lives(info->pid)) break;
    std::this_thread::sleep_for(kAgain);
  }
  return take(fs::canonical(path, error), false, false);
}

fs::path RunDir::agent_log(std::uint32_t agent) const {
  return path_ / "logs" / cat("agent-", agent, ".log");
}

bool RunDir::discard() {
  if (!fresh_) return false;
  std::error_code error;
  for (const char* mine : {"logs", "checkpoints", "files", "job.json", "job.toml", "run.json",
                           "metrics.jsonl", "events.jsonl", "control.sock", "coordinator.journal",
                           "hub.json", "tokens.json", "tokens.json.lock", "audit.jsonl", "lock"}) {
    fs::remove_all(path_ / mine, error);
    // Of a writer that was killed before its rename.
    fs::remove(path_ / cat(mine, ".tmp"), error);
  }
  if (made_) fs::remove(path_, error);
  (void)list_runs();  // whose entry it drops
  // Its parent too, if that was made for it alone: remove() takes empty folders only.
  if (made_ && path_.parent_path().filename() == "runs") fs::remove(path_.parent_path(), error);
  return true;
}

Status RunDir::write(const std::string& name, std::string_view content) const {
  const fs::path path = path_ / name;
  const fs::path temporary = path_ / (name + ".tmp");
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd.valid()) return os_error("create", temporary, errno);
    INSTEP_RETURN_IF_ERROR(write_at(fd.get(), 0, std::as_bytes(std::span(content)), temporary));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return os_error("rename", temporary, errno);
  return {};
}

Status RunDir::write_info(const RunInfo& info) const {
  Json json = Json::object();
  json["name"] = info.name;
  json["job"] = info.job;
  json["state"] = info.state;
  json["started"] = info.started;
  json["ended"] = info.ended;
  json["message"] = info.message;
  json["instep"] = info.version;
  json["command"] = info.command;
  json["program"] = info.program;
  json["pid"] = info.pid;
  json["agents"] = info.agents;
  return write("run.json", json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<RunInfo> read_info(const fs::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(run_dir / "run.json", kMaxInfoBytes));
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) {
    return Error{ErrorKind::kCorrupt, cat((run_dir / "run.json").string(), " is damaged")};
  }
  RunInfo info;
  info.name = field(json, "name");
  info.job = field(json, "job");
  info.state = field(json, "state");
  info.started = field(json, "started");
  info.ended = field(json, "ended");
  info.message = field(json, "message");
  info.version = field(json, "instep");
  info.pid = count_field(json, "pid");
  info.agents = static_cast<std::uint32_t>(count_field(json, "agents"));
  info.command = words(json, "command");
  info.program = words(json, "program");
  return info;
}

bool is_held(const fs::path& run_dir) {
  const Fd lock(::open((run_dir / "lock").c_str(), O_RDONLY | O_CLOEXEC));
  return lock.valid() && ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace instep::coord
