// How a command reaches a living launcher: RUN/control.sock, a socket that only the run's own user
// may use. One question a connection, one line of JSON each way, at most kMaxLine bytes:
//   {"scale":6}   ->   {"from":4,"to":6}   or   {"error":"…","kind":"invalid"}
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/time.h"
#include "coord/steering.h"

namespace instep::coord {

struct Scaled {
  std::uint32_t from = 0, to = 0;  // wanted agents, before and now
};

// The launcher's end. Never blocks; a client that is slow, says too much or is somebody else is cut
// off. One thread.
class ScaleServer {
 public:
  struct Request {
    std::uint64_t client = 0;
    std::uint32_t agents = 0;  // as asked; whether there is room is the launcher's to say
  };

  static constexpr std::size_t kMaxLine = 4096;
  static constexpr std::size_t kMaxClients = 16;
  // A client that has said nothing whole by then is cut off, when the next one comes.
  static constexpr std::int64_t kPatienceNs = 2 * kSecond;

  // `run_dir` is held by the caller: a socket that is there already is a dead launcher's.
  static Result<ScaleServer> listen(const std::filesystem::path& run_dir);
  ScaleServer(ScaleServer&&) noexcept = default;
  ScaleServer& operator=(ScaleServer&&) = delete;
  ~ScaleServer();  // removes the socket

  int descriptor() const { return poll_.get(); }  // readable when next() may have something
  std::optional<Request> next(std::int64_t now_ns);
  void answer(const Request& request, const Result<Scaled>& result);
  // All that was asked, answered by what the run says.
  void serve(Steering& run, std::int64_t now_ns);

 private:
  struct Client {
    std::uint64_t number = 0;
    Fd socket;
    std::int64_t since_ns = 0;
    bool asked = false;  // and waits for the answer
    std::string said;
  };
  ScaleServer(Fd folder, Fd socket, Fd poll)
      : folder_(std::move(folder)), socket_(std::move(socket)), poll_(std::move(poll)) {}
  void admit(std::int64_t now_ns);
  void drop_late(std::int64_t now_ns);
  // What the client asks, once its line is whole. False: it is done with.
  bool hear(Client& client, std::optional<Request>& request);
  void refuse(const Client& client, const Error& error) const;

  Fd folder_, socket_, poll_;
  std::vector<Client> clients_;  // by their coming
  std::uint64_t next_number_ = 1;
};

// The command's end: asks the launcher of the run for so many agents and waits for its word.
// kUnavailable where no launcher answers.
Result<Scaled> ask_scale(const std::filesystem::path& run_dir, std::uint32_t agents,
                         int limit_ms = 10'000);

}  // namespace instep::coord
