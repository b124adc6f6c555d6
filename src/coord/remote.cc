#include "coord/remote.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/machine.h"
#include "base/text.h"
#include "coord/output.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kMs = 1'000'000;

// A pipe's end from which the line can be read, whole and at once. It is far shorter than what a
// pipe holds.
Result<Fd> with_line(const std::string& line) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return os_error("make", "a pipe", errno);
  Fd out(pipe[0]);
  const Fd in(pipe[1]);
  const std::string text = line + "\n";
  if (::write(in.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return os_error("write to", "a pipe", errno);
  }
  return out;
}

// Programs and shells say by these codes that something could not be found or understood; 255 is
// ssh's own.
bool can_be_mended(const Process::Ended& ended) {
  constexpr std::array kCodes = {2, 126, 127, 255};
  return std::find(kCodes.begin(), kCodes.end(), ended.code) != kCodes.end();
}

Error why(const std::string& program, const std::string& host, const fs::path& log,
          const Process::Ended& ended) {
  const std::string how = ended.signal != 0 ? cat("was killed by signal ", ended.signal)
                                            : cat("ended with exit code ", ended.code);
  const std::string words = tail(log, 0);
  return {
      can_be_mended(ended) ? ErrorKind::kNotFound : ErrorKind::kUnavailable,
      cat("host ", host, " has not joined: ", program, " ", how,
          words.empty() ? std::string(" and said nothing") : cat("; its last words:\n", words))};
}

}  // namespace

Result<Remote> Remote::start(const Plan& plan) {
  Remote out;
  INSTEP_ASSIGN_OR_RETURN(const fs::path program, find_program(plan.command.front()));
  out.program_ = program.filename().string();
  for (const Host& host : plan.hosts) {
    const fs::path log = plan.logs / cat("host-", host.name, ".log");
    const Fd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
    if (!output.valid()) return os_error("write", log, errno);
    INSTEP_ASSIGN_OR_RETURN(const Fd input, with_line(plan.line));
    ProcessPlan process;
    process.program = program;
    process.arguments.assign(plan.command.begin() + 1, plan.command.end());
    process.arguments.insert(process.arguments.end(), {host.name, "--", host.words});
    process.input = input.get();
    process.output = process.errors = output.get();
    INSTEP_ASSIGN_OR_RETURN(Process started, Process::start(process));
    out.launched_.push_back({host.name, host.alias, log, std::move(started)});
  }
  return out;
}

void Remote::collect(std::vector<int>& descriptors) const {
  for (const Launched& it : launched_) {
    if (!it.ended) descriptors.push_back(it.process.pidfd());
  }
}

void Remote::joined(const std::string& alias) {
  const auto host = std::find_if(launched_.begin(), launched_.end(), [&](const Launched& it) {
    return it.alias == alias && !it.joined;
  });
  if (host != launched_.end()) host->joined = true;
}

std::optional<Error> Remote::failure() {
  for (Launched& it : launched_) {
    if (it.ended) continue;
    const Process::Ended end = it.process.reap();
    it.ended = end.ended;
    if (end.ended && !it.joined) return why(program_, it.name, it.log, end);
  }
  return std::nullopt;
}

void Remote::finish(std::int64_t limit_ms) {
  for (const Launched& it : launched_) {
    if (!it.joined && !it.ended) it.process.signal(SIGTERM);
  }
  const std::int64_t until = monotonic_ns() + limit_ms * kMs;
  while (true) {
    failure();
    std::vector<int> descriptors;
    collect(descriptors);
    const std::int64_t left_ms = (until - monotonic_ns()) / kMs;
    if (descriptors.empty() || left_ms <= 0) break;
    std::vector<pollfd> polled;
    for (const int fd : descriptors) polled.push_back({fd, POLLIN, 0});
    ::poll(polled.data(), polled.size(), static_cast<int>(left_ms));
  }
  launched_.clear();  // which kills who is left
}

}  // namespace instep::coord
