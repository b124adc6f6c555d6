// The control link between the coordinator and one agent of the same host: framed messages over a
// connected Unix stream socket, descriptors beside them (SCM_RIGHTS). One thread reads, any thread
// writes.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "wire/message.h"

namespace instep::fabric {

class ControlLink {
 public:
  explicit ControlLink(Fd socket) : socket_(std::move(socket)) {}

  // Sends a message and, beside it, descriptors (at most 253, which the kernel duplicates). Blocks
  // while the other end's buffer is full; kUnavailable when the other end is gone, or when a limit
  // set by limit_sending() has passed.
  Status send(const wire::Message& message, const std::vector<int>& descriptors = {});
  // From now on a send() that makes no progress for so long fails, so that a stopped process at the
  // other end cannot stop this one.
  Status limit_sending(int milliseconds);

  struct Received {
    wire::Message message;
    std::vector<Fd> descriptors;
  };
  // The next message; nullopt at the end of the stream; an Error for a malformed frame.
  Result<std::optional<Received>> receive();

  // The same without waiting: `message` is empty while the next one has not arrived whole.
  struct Polled {
    std::optional<Received> message;
    bool ended = false;
  };
  Result<Polled> poll();

  int socket() const { return socket_.get(); }
  // Ends both directions, so that a blocked receive() returns.
  void shut_down();

 private:
  enum class Step { kWhole, kWaiting, kEnded };
  Result<Step> fill(std::byte* into, std::size_t wanted, bool wait);
  Result<Polled> next(bool wait);

  Fd socket_;
  std::mutex sending_;
  // The frame that is being read. Reads never cross the end of a frame, so descriptors that arrive
  // while it is read are its own.
  std::array<std::byte, 4> prefix_{};
  std::vector<std::byte> body_;
  std::vector<Fd> descriptors_;
  std::size_t filled_ = 0;  // of the prefix and the body together
};

// Two connected ends, close-on-exec.
Result<std::pair<Fd, Fd>> make_control_pair();

}  // namespace instep::fabric
