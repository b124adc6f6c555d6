#include "coord/sources.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "data/dataset.h"

namespace instep::coord {
namespace {

Result<Fd> load_image(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  INSTEP_ASSIGN_OR_RETURN(const data::Dataset dataset, data::load(spec, loss, seed));
  return data::make_image(dataset);
}

}  // namespace

Result<std::shared_ptr<Loading>> Loading::begin(const job::Job& job) {
  auto loading = std::make_shared<Loading>();
  loading->wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loading->wake_.valid()) return os_error("make", "an event descriptor", errno);
  const auto work = [loading, spec = job.data, loss = job.loss, seed = job.seed] {
    Result<Fd> image = load_image(spec, loss, seed);
    const std::lock_guard lock(loading->mutex_);
    loading->image_.emplace(std::move(image));
    const std::uint64_t one = 1;
    if (::write(loading->wake_.get(), &one, sizeof one) < 0) {
      log(LogLevel::kError, "cannot wake the launcher");
    }
  };
  try {
    std::thread(work).detach();
  } catch (const std::system_error& error) {
    return Error{ErrorKind::kInternal, cat("cannot start a thread: ", error.what())};
  }
  return loading;
}

std::optional<Result<Fd>> Loading::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(image_, std::nullopt);
}

StopSignals::StopSignals() {
  ::sigemptyset(&set_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) ::sigaddset(&set_, signal);
  ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  ::signal(SIGPIPE, SIG_IGN);
  fd_ = Fd(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
}

StopSignals::~StopSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

std::optional<int> StopSignals::next() const {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace instep::coord
