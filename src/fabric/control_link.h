// The control link between the coordinator and one agent of the same host: framed messages over a
// connected Unix stream socket, descriptors beside them (SCM_RIGHTS). Blocking calls; one thread
// reads, any thread writes.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "wire/message.h"

namespace instep::fabric {

class ControlLink {
 public:
  explicit ControlLink(Fd socket) : socket_(std::move(socket)) {}

  // Sends a message and, beside it, descriptors (at most 253, which the kernel duplicates).
  Status send(const wire::Message& message, const std::vector<int>& descriptors = {});

  struct Received {
    wire::Message message;
    std::vector<Fd> descriptors;
  };
  // The next message; nullopt at the end of the stream; an Error for a malformed frame.
  Result<std::optional<Received>> receive();

  int socket() const { return socket_.get(); }
  // Ends both directions, so that a blocked receive() returns.
  void shut_down();

 private:
  Fd socket_;
  std::mutex sending_;
};

// Two connected ends, close-on-exec.
Result<std::pair<Fd, Fd>> make_control_pair();

}  // namespace instep::fabric
