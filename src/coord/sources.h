// Where a launcher's wake-ups come from besides its agents: the dataset that is being decoded, and
// the signals that ask it to stop.
#pragma once

#include <signal.h>

#include <memory>
#include <mutex>
#include <optional>

#include "base/file.h"
#include "base/result.h"
#include "job/job.h"

namespace instep::coord {

// The dataset, decoded beside the agents' start by a thread of its own. The thread may outlive the
// launch that gave up on it; what it works on is shared.
class Loading {
 public:
  static Result<std::shared_ptr<Loading>> begin(const job::Job& job);

  int descriptor() const { return wake_.get(); }  // readable when the image is there
  std::optional<Result<Fd>> take();

 private:
  Fd wake_;
  std::mutex mutex_;
  std::optional<Result<Fd>> image_;
};

// SIGINT, SIGTERM, SIGHUP and SIGUSR1 (which schedulers warn by) as a descriptor, for as long as
// the object lives. SIGPIPE is ignored from then on: a reader of our output that goes is no reason
// to end a run.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int descriptor() const { return fd_.get(); }
  std::optional<int> next() const;

 private:
  sigset_t set_{}, before_{};
  Fd fd_;
};

}  // namespace instep::coord
