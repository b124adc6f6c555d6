#include "coord/rank_group.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/hash.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"

namespace instep::coord {
namespace {

// What one of the others says of itself.
struct Hello {
  std::uint32_t rank = 0, size = 0;
  cpu_set_t cpus{};
};

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
};

// A name in the abstract namespace, which begins with a zero byte. The hash makes it fit.
Name name_of(const RankGroup& group) {
  const std::string text =
      cat("instep-", ::getuid(), "-", sha256_hex(cat(group.launcher, "\n", group.job)));
  Name out;
  out.address.sun_family = AF_UNIX;
  const std::size_t room = sizeof out.address.sun_path - 1;
  std::memcpy(out.address.sun_path + 1, text.data(), std::min(room, text.size()));
  out.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + std::min(room, text.size()));
  return out;
}

// Anybody on this machine may take such a name.
bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::getuid();
}

bool wait_readable(int fd, std::int64_t until) {
  pollfd polled{fd, POLLIN, 0};
  const std::int64_t left_ms = std::max<std::int64_t>(0, (until - monotonic_ns()) / kMillisecond);
  return ::poll(&polled, 1, static_cast<int>(left_ms)) > 0;
}

Error missing(const RankGroup& group, const std::string& who) {
  return {ErrorKind::kUnavailable,
          cat(who, " of this ", group.launcher, " job has not come; were all ", group.size,
              " of its processes started as instep agent --from-env?")};
}

}  // namespace

Result<RankLead> RankLead::gather(const RankGroup& group, std::int64_t limit_ms) {
  const Name name = name_of(group);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return os_error("make", "a socket", errno);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size) != 0) {
    if (errno != EADDRINUSE) return os_error("bind", "a socket", errno);
    return Error{ErrorKind::kTaken, cat("another process with local rank 0 of the same ",
                                        group.launcher, " job (", group.job, ") lives here")};
  }
  if (::listen(socket.get(), SOMAXCONN) != 0) return os_error("listen on", "a socket", errno);
  const std::int64_t until = monotonic_ns() + limit_ms * kMillisecond;
  RankLead out;
  out.others_.resize(group.size - 1);
  std::vector<int> cpus = usable_cpus();
  for (std::uint32_t left = group.size - 1; left > 0;) {
    if (!wait_readable(socket.get(), until)) {
      const auto first = std::find_if(out.others_.begin(), out.others_.end(),
                                      [](const Fd& fd) { return !fd.valid(); });
      return missing(group, cat("the process with local rank ", first - out.others_.begin() + 1));
    }
    Fd other(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Hello hello;
    if (!other.valid() || !is_ours(other.get()) || !wait_readable(other.get(), until) ||
        ::recv(other.get(), &hello, sizeof hello, 0) != sizeof hello) {
      continue;
    }
    if (hello.size != group.size || hello.rank == 0 || hello.rank >= group.size ||
        out.others_[hello.rank - 1].valid()) {
      return invalid(cat("a process of this ", group.launcher, " job says that it has local rank ",
                         hello.rank, " of ", hello.size, "; there are ", group.size,
                         " here, and each has a rank of its own"));
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &hello.cpus)) cpus.push_back(cpu);
    }
    out.others_[hello.rank - 1] = std::move(other);
    --left;
  }
  out.name_ = std::move(socket);
  pin_to(cpus);  // where that is refused we have our own
  return out;
}

void RankLead::end(int exit_code) const {
  for (const Fd& other : others_) {
    // One that is gone needs no word.
    (void)::send(other.get(), &exit_code, sizeof exit_code, MSG_NOSIGNAL);
  }
}

Result<int> follow_lead(const RankGroup& group, std::int64_t limit_ms) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) ::signal(signal, SIG_IGN);
  const Name name = name_of(group);
  const std::int64_t until = monotonic_ns() + limit_ms * kMillisecond;
  constexpr std::chrono::milliseconds kLook{20};
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return os_error("make", "a socket", errno);
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size) !=
         0) {
    if (errno != ECONNREFUSED && errno != EINTR) return os_error("connect", "a socket", errno);
    if (monotonic_ns() >= until) return missing(group, "the process with local rank 0");
    std::this_thread::sleep_for(kLook);
  }
  if (!is_ours(socket.get())) {
    return Error{ErrorKind::kUnavailable,
                 "another user has taken the name by which the processes of this job meet"};
  }
  Hello hello;
  hello.rank = group.rank;
  hello.size = group.size;
  for (const int cpu : usable_cpus()) CPU_SET(cpu, &hello.cpus);
  (void)::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL);
  int code = 0;
  ssize_t got = 0;
  do {
    got = ::recv(socket.get(), &code, sizeof code, 0);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof code) return code;
  return Error{ErrorKind::kUnavailable, "the process with local rank 0 has died"};
}

}  // namespace instep::coord
