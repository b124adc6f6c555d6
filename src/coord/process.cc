#include "coord/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/text.h"

extern char** environ;

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

bool executable(const fs::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

std::vector<std::string> merged_environment(
    const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& change : changes) replaced = replaced || change.first == name;
    if (!replaced) out.emplace_back(text);
  }
  for (const auto& [name, value] : changes) out.push_back(cat(name, "=", value));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Everything that the child needs, made before fork(): after it only async-signal-safe calls are
// allowed, since other threads of ours may hold locks.
struct Child {
  const char* program;
  char* const* argv;
  char* const* envp;
  cpu_set_t cpus;
  bool pinned, idle;
  int inherited, lock, input, output, errors, failure;
  pid_t parent;
  sigset_t signals;

  [[noreturn]] void run() const {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it died before the line above
    if (pinned) ::sched_setaffinity(0, sizeof cpus, &cpus);
    const sched_param none{};
    if (idle) ::sched_setscheduler(0, SCHED_IDLE, &none);
    ::signal(SIGPIPE, SIG_DFL);
    // Schedulers send it to all processes of a job; it is meant for the launcher.
    ::signal(SIGUSR1, SIG_IGN);
    ::sigprocmask(SIG_SETMASK, &signals, nullptr);
    // Libraries open descriptors too, and not all ask for this (Asio's sockets): a child that kept
    // one would keep a connection open that its parent's death should end.
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (::dup2(input, 0) == 0 && ::dup2(output, 1) == 1 && ::dup2(errors, 2) == 2 &&
        (inherited < 0 || ::fcntl(inherited, F_SETFD, 0) == 0) &&
        (lock < 0 || ::fcntl(lock, F_SETFD, 0) == 0)) {
      ::execve(program, argv, envp);
    }
    const int error = errno;
    if (::write(failure, &error, sizeof error) < 0) ::_exit(126);
    ::_exit(127);
  }
};

}  // namespace

Result<fs::path> find_program(const std::string& name) {
  const Error missing{ErrorKind::kNotFound,
                      cat("there is no program '", name, "' that could be run; check its path",
                          " and that it may be executed")};
  if (name.find('/') != std::string::npos) {
    if (!executable(name)) return missing;
    return fs::absolute(name);
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  while (!name.empty()) {
    const std::size_t colon = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
    if (executable(candidate)) return fs::absolute(candidate);
    if (colon == std::string_view::npos) break;
    rest = rest.substr(colon + 1);
  }
  return missing;
}

Result<Process> Process::start(const ProcessPlan& plan) {
  std::vector<std::string> words = {plan.program.string()};
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  std::vector<std::string> variables = merged_environment(plan.environment);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid()) return os_error("open", "/dev/null", errno);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return os_error("make", "a pipe", errno);
  const Fd failed(pipe[0]);
  Fd failing(pipe[1]);

  Child child{};
  child.program = plan.program.c_str();
  child.argv = argv.data();
  child.envp = envp.data();
  CPU_ZERO(&child.cpus);
  for (const int cpu : plan.cpus) CPU_SET(cpu, &child.cpus);
  child.pinned = !plan.cpus.empty();
  child.idle = plan.idle;
  child.inherited = plan.inherited;
  child.lock = plan.lock;
  child.input = plan.input < 0 ? null.get() : plan.input;
  child.output = plan.output;
  child.errors = plan.errors;
  child.failure = failing.get();
  child.parent = ::getpid();
  ::sigemptyset(&child.signals);

  const pid_t pid = ::fork();
  if (pid < 0) return os_error("start", plan.program, errno);
  if (pid == 0) child.run();
  failing.reset();
  Process process(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (!process.pidfd_.valid()) {
    const Error error = os_error("watch", plan.program, errno);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return error;
  }
  int exec_error = 0;
  ssize_t got = 0;
  do {
    got = ::read(failed.get(), &exec_error, sizeof exec_error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof exec_error) return os_error("execute", plan.program, exec_error);
  return process;
}

Process::~Process() {
  if (!pidfd_.valid()) return;
  signal(SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Process::signal(int signal) const {
  if (!pidfd_.valid()) return;  // its number may be somebody else's by now
  // The group is there from the child's first instruction on, or a moment later.
  if (::kill(-pid_, signal) != 0) ::kill(pid_, signal);
}

Process::Ended Process::reap() {
  Ended out;
  siginfo_t info{};
  const auto id = static_cast<id_t>(pid_);
  if (!pidfd_.valid() || ::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid == 0) {
    return out;
  }
  // What it started and left goes with it; the number is its group's until it is waited for.
  ::kill(-pid_, SIGKILL);
  while (::waitid(P_PID, id, &info, WEXITED) != 0 && errno == EINTR) {
  }
  pidfd_.reset();
  out.ended = true;
  (info.si_code == CLD_EXITED ? out.code : out.signal) = info.si_status;
  return out;
}

bool may_leave_idle() {
  // Tried on a thread, since what a kernel and a container allow is not to be known otherwise.
  static const bool kMay = [] {
    bool came_back = false;
    std::thread([&came_back] {
      const sched_param none{};
      came_back = ::sched_setscheduler(0, SCHED_IDLE, &none) == 0 &&
                  ::sched_setscheduler(0, SCHED_OTHER, &none) == 0;
    }).join();
    return came_back;
  }();
  return kMay;
}

std::vector<int> cpus_of(std::uint32_t agent, std::uint32_t threads,
                         const std::vector<int>& usable) {
  std::vector<int> out;
  const std::size_t wanted = std::min<std::size_t>(threads, usable.size());
  for (std::size_t k = 0; k < wanted; ++k) {
    out.push_back(usable[(static_cast<std::size_t>(agent) * threads + k) % usable.size()]);
  }
  return out;
}

}  // namespace instep::coord
