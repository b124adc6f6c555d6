// Agents as processes: started by fork and exec, each with one inherited descriptor, and never left
// behind.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::coord {

// The program as a path that can be executed: with a slash as it is, else looked up in PATH.
Result<std::filesystem::path> find_program(const std::string& name);

struct ProcessPlan {
  std::filesystem::path program;
  std::vector<std::string> arguments;                            // after the program's name
  std::vector<std::pair<std::string, std::string>> environment;  // set over ours
  std::vector<int> cpus;                                         // empty: not pinned
  bool idle = false;  // takes only what processor time nobody else wants, until it says otherwise
  int inherited = -1, lock = -1;  // stay open in the child
  int input = -1;                 // its stdin; -1: there is nothing to read
  int output = -1, errors = -1;   // its stdout and stderr
};

// A child process. One that still lives when the object goes is killed and waited for.
class Process {
 public:
  // Started in a process group of its own, so that Ctrl-C reaches the launcher alone, and killed by
  // the kernel when the calling thread ends. An exec that fails is this call's error.
  static Result<Process> start(const ProcessPlan& plan);

  Process(Process&&) noexcept = default;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable when it has ended
  void signal(int signal) const;              // to its whole group; nothing once it is reaped

  struct Ended {
    bool ended = false;
    int code = 0, signal = 0;
  };
  // Whether it has ended since the last call, and how; said once. Its group is killed then.
  Ended reap();

 private:
  Process(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_;
  Fd pidfd_;  // invalid once reaped
};

// Whether a process started idle may come back to normal by itself, which takes a right.
bool may_leave_idle();

// CPUs for one agent out of those usable: `threads` neighbours, agents wrapping around.
std::vector<int> cpus_of(std::uint32_t agent, std::uint32_t threads,
                         const std::vector<int>& usable);

}  // namespace instep::coord
