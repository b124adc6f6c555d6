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
#include "base/time.h"
#include "coord/output.h"

namespace instep::coord {
namespace {

// A login and the loading of libtorch take less.
constexpr std::int64_t kWaitToldNs = 5 * kSecond;

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
bool says_what_to_mend(const Process::Ended& ended) {
  constexpr std::array kCodes = {2, 126, 127, 255};
  return std::find(kCodes.begin(), kCodes.end(), ended.code) != kCodes.end();
}

// What is most often to be done, where a host has never come.
std::string advice(const std::string& program, const std::string& host, int code) {
  if (code == 126 || code == 127) {
    return " (instep must be installed there, or --remote-instep say where it is)";
  }
  if (code != 255 || program != "ssh") return "";
  return cat(" (`ssh ", host, "` must work here without any question)");
}

std::string how_it_ended(const Process::Ended& ended) {
  return ended.signal != 0 ? cat("was killed by signal ", ended.signal)
                           : cat("ended with exit code ", ended.code);
}

}  // namespace

Result<Remote> Remote::start(Plan plan) {
  Remote out(std::move(plan));
  INSTEP_ASSIGN_OR_RETURN(out.program_, find_program(out.plan_.command.front()));
  for (const Host& host : out.plan_.hosts) {
    Launched it;
    it.host = host;
    it.log = out.plan_.logs / cat("host-", host.name, ".log");
    INSTEP_RETURN_IF_ERROR(out.launch(it));
    out.launched_.push_back(std::move(it));
  }
  out.wait_told_at_ = monotonic_ns() + kWaitToldNs;
  return out;
}

Status Remote::launch(Launched& it) const {
  it.in.reset();
  it.lost = it.judged = false;
  const Fd output(::open(it.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!output.valid()) return os_error("write", it.log, errno);
  it.log_from = static_cast<std::uint64_t>(std::max<off_t>(0, ::lseek(output.get(), 0, SEEK_END)));
  INSTEP_ASSIGN_OR_RETURN(const Fd input, with_line(plan_.line));
  ProcessPlan process;
  process.program = program_;
  process.arguments.assign(plan_.command.begin() + 1, plan_.command.end());
  process.arguments.insert(process.arguments.end(), {it.host.name, "--", it.host.words});
  process.input = input.get();
  process.output = process.errors = output.get();
  INSTEP_ASSIGN_OR_RETURN(Process started, Process::start(process));
  it.process.emplace(std::move(started));
  return {};
}

void Remote::collect(std::vector<int>& descriptors) const {
  for (const Launched& it : launched_) {
    if (it.process) descriptors.push_back(it.process->pidfd());
  }
}

std::optional<std::int64_t> Remote::due() const {
  std::optional<std::int64_t> out = wait_told_at_;
  for (const Launched& it : launched_) {
    if (it.again_at && (!out || *it.again_at < *out)) out = it.again_at;
  }
  return out;
}

void Remote::joined(const std::string& alias, std::uint32_t host) {
  const auto it = std::find_if(launched_.begin(), launched_.end(), [&](const Launched& one) {
    return one.host.alias == alias && !one.in;
  });
  if (it == launched_.end()) return;
  it->in = host;
  it->was_in = true;
  it->comeback.works(monotonic_ns());
}

// Its command may live on: where a machine is cut off nothing ends it.
void Remote::lost(std::uint32_t host) {
  for (Launched& it : launched_) {
    if (it.in != host) continue;
    it.lost = true;
    if (it.process) it.process->signal(SIGTERM);
  }
}

Remote::News Remote::look() {
  News out;
  for (Launched& it : launched_) look(it, out);
  if (wait_told_at_ && monotonic_ns() >= *wait_told_at_) {
    wait_told_at_.reset();
    tell_wait(out);
  }
  return out;
}

// Else who waits for a login that hangs sees nothing at all.
void Remote::tell_wait(News& news) const {
  std::vector<std::string> names;
  for (const Launched& it : launched_) {
    if (!it.was_in) names.push_back(it.host.name);
  }
  if (names.empty()) return;
  news.notes.push_back(cat("waiting for ", join(names, ", "), ": what ",
                           program_.filename().string(), " says is in ", plan_.logs.string()));
}

void Remote::look(Launched& it, News& news) const {
  bool can_be_mended = false;
  if (it.process) {
    const Process::Ended how = it.process->reap();
    if (!how.ended) return;
    it.process.reset();
    it.end = how_it_ended(how);
    it.advice = advice(program_.filename(), it.host.name, how.code);
    can_be_mended = says_what_to_mend(how);
  }
  if (it.again_at) return start_again(it, news);
  if (it.judged || (it.in && !it.lost)) return;
  it.judged = true;
  if (!it.was_in) {
    news.failure = failure(it, can_be_mended);
    return;
  }
  if (!plan_.again) return;
  const std::int64_t now = monotonic_ns();
  it.again_at = it.comeback.failed(now);
  const std::string end =
      cat("host ", it.host.name, ": ", program_.filename().string(), " ", it.end);
  if (!it.again_at) {
    news.notes.push_back(cat(end, ", as so often before; the host is left out from now on"));
  } else if (*it.again_at > now) {
    news.notes.push_back(
        cat(end, "; it is started again in ", (*it.again_at - now) / kSecond, " s"));
  }
  if (it.again_at) start_again(it, news);
}

void Remote::start_again(Launched& it, News& news) const {
  if (monotonic_ns() < *it.again_at) return;
  it.again_at.reset();
  news.notes.push_back(
      cat("host ", it.host.name, " is started again by ", program_.filename().string()));
  if (const Status status = launch(it); !status.ok()) it.end = status.error().message;
}

Error Remote::failure(const Launched& it, bool can_be_mended) const {
  const std::string words = tail(it.log, it.log_from);
  return {
      can_be_mended ? ErrorKind::kNotFound : ErrorKind::kUnavailable,
      cat("host ", it.host.name, " has not joined: ", program_.filename().string(), " ", it.end,
          it.advice,
          words.empty() ? std::string(" and said nothing") : cat("; its last words:\n", words))};
}

void Remote::finish(std::int64_t limit_ms) {
  plan_.again = false;
  for (Launched& it : launched_) {
    it.again_at.reset();
    if (it.process && !it.in) it.process->signal(SIGTERM);
  }
  const std::int64_t until = monotonic_ns() + limit_ms * kMillisecond;
  while (true) {
    look();
    std::vector<int> descriptors;
    collect(descriptors);
    const std::int64_t left_ms = (until - monotonic_ns()) / kMillisecond;
    if (descriptors.empty() || left_ms <= 0) break;
    std::vector<pollfd> polled;
    for (const int fd : descriptors) polled.push_back({fd, POLLIN, 0});
    ::poll(polled.data(), polled.size(), static_cast<int>(left_ms));
  }
  launched_.clear();  // which kills who is left
}

}  // namespace instep::coord
