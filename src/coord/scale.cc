#include "coord/scale.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "fabric/host_memory.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr const char* kName = "control.sock";

Result<Fd> open_folder(const fs::path& run_dir) {
  Fd folder(::open(run_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return os_error("open", run_dir, errno);
  return folder;
}

// By way of the open folder: a socket's address holds 107 bytes, and a run's path may be longer.
sockaddr_un address_in(const Fd& folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = cat("/proc/self/fd/", folder.get(), "/", kName);
  std::memcpy(&address.sun_path[0], path.c_str(), path.size() + 1);
  return address;
}

std::optional<uid_t> peer_of(const Fd& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer.uid;
}

bool put(const Fd& socket, const std::string& line) {
  const ssize_t sent = ::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent == static_cast<ssize_t>(line.size());
}

std::string as_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string as_line(const Error& error) {
  const char* kind = error.kind == ErrorKind::kInvalid ? "invalid" : "failed";
  constexpr std::size_t kMost = ScaleServer::kMaxLine / 4;  // escaping makes it longer
  return as_line(Json{{"error", error.message.substr(0, kMost)}, {"kind", kind}});
}

// A number of agents that could be one of a host.
std::optional<std::uint32_t> agents_in(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  const auto agents = found->get<std::uint64_t>();
  if (agents > fabric::kMaxSlots) return std::nullopt;
  return static_cast<std::uint32_t>(agents);
}

}  // namespace

Result<ScaleServer> ScaleServer::listen(const fs::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(Fd folder, open_folder(run_dir));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  Fd poll(::epoll_create1(EPOLL_CLOEXEC));
  const fs::path path = run_dir / kName;
  if (!socket.valid() || !poll.valid()) return os_error("make", path, errno);
  ::unlinkat(folder.get(), kName, 0);
  const sockaddr_un address = address_in(folder);
  // The file takes the mode of the unbound socket, so at no time is it open to others.
  const bool bound =
      ::fchmod(socket.get(), 0600) == 0 &&
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(socket.get(), static_cast<int>(kMaxClients)) == 0;
  if (!bound) return os_error("make", path, errno);
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(poll.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) {
    return os_error("watch", path, errno);
  }
  return ScaleServer(std::move(folder), std::move(socket), std::move(poll));
}

ScaleServer::~ScaleServer() {
  if (folder_.valid()) ::unlinkat(folder_.get(), kName, 0);
}

void ScaleServer::admit(std::int64_t now_ns) {
  while (true) {
    Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid() && errno == EINTR) continue;
    if (!socket.valid()) return;
    if (peer_of(socket) != ::geteuid()) continue;  // closes it
    // The one that has been silent for longest makes room.
    if (clients_.size() >= kMaxClients) clients_.erase(clients_.begin());
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) continue;
    clients_.push_back({next_number_++, std::move(socket), now_ns, false, ""});
  }
}

void ScaleServer::drop_late(std::int64_t now_ns) {
  const auto late = [now_ns](const Client& client) {
    return !client.asked && now_ns - client.since_ns > kPatienceNs;
  };
  clients_.erase(std::remove_if(clients_.begin(), clients_.end(), late), clients_.end());
}

std::optional<ScaleServer::Request> ScaleServer::next(std::int64_t now_ns) {
  admit(now_ns);
  std::optional<Request> request;
  for (auto it = clients_.begin(); it != clients_.end() && !request;) {
    it = it->asked || hear(*it, request) ? std::next(it) : clients_.erase(it);
  }
  drop_late(now_ns);
  return request;
}

bool ScaleServer::hear(Client& client, std::optional<Request>& request) {
  std::array<char, kMaxLine> buffer{};
  ssize_t got = 0;
  do {
    got = ::recv(client.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
  if (got == 0) return false;
  client.said.append(buffer.data(), static_cast<std::size_t>(got));
  const std::size_t end = client.said.find('\n');
  if (end == std::string::npos) return client.said.size() < kMaxLine;
  const Json json = Json::parse(client.said.substr(0, end), nullptr, false);
  const auto agents = agents_in(json, "scale");
  if (!agents || end + 1 != client.said.size() || json.size() != 1) {
    refuse(client, invalid("found no question that this launcher knows; use the same instep"));
    return false;
  }
  client.asked = true;
  // Whatever it says now is of no concern; without this its end would wake the launcher for ever.
  ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, client.socket.get(), nullptr);
  request = Request{client.number, *agents};
  return true;
}

void ScaleServer::refuse(const Client& client, const Error& error) const {
  (void)put(client.socket, as_line(error));  // a client that does not listen is its own fault
}

void ScaleServer::answer(const Request& request, const Result<Scaled>& result) {
  const auto client = std::find_if(clients_.begin(), clients_.end(),
                                   [&](const Client& one) { return one.number == request.client; });
  if (client == clients_.end()) return;
  if (result.ok()) {
    (void)put(client->socket, as_line(Json{{"from", result->from}, {"to", result->to}}));
  } else {
    refuse(*client, result.error());
  }
  clients_.erase(client);
}

void ScaleServer::serve(Steering& run, std::int64_t now_ns) {
  while (const std::optional<Request> request = next(now_ns)) {
    const std::uint32_t before = run.wanted();
    const Status status = run.scale(request->agents);
    answer(*request, status.ok() ? Result<Scaled>(Scaled{before, run.wanted()}) : status.error());
  }
}

namespace {

Result<std::string> read_line(const Fd& socket, int limit_ms) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(limit_ms);
  std::string line;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd polled{socket.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&polled, 1, static_cast<int>(left)) == 0) {
      return Error{ErrorKind::kUnavailable,
                   cat("its launcher gave no answer within ", limit_ms / 1000,
                       " s; it may be stopped or very busy")};
    }
    std::array<char, 1024> buffer{};
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return Error{ErrorKind::kUnavailable, "its launcher has just ended"};
    line.append(buffer.data(), static_cast<std::size_t>(got));
    if (line.back() == '\n') return line;
    if (line.size() > ScaleServer::kMaxLine) break;
  }
  return Error{ErrorKind::kMismatch, "its launcher gave an answer that is none"};
}

Result<Fd> connect_to(const fs::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const Fd folder, open_folder(run_dir));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return os_error("make", "a socket", errno);
  const sockaddr_un address = address_in(folder);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    switch (errno) {
      case ENOENT:
        return Error{ErrorKind::kUnavailable, "it is just beginning or ending; try again"};
      case ECONNREFUSED:
        return Error{ErrorKind::kUnavailable, "its launcher was killed"};
      case EAGAIN:
        return Error{ErrorKind::kUnavailable, "its launcher is asked too much; try again"};
      case EACCES:
        return invalid("only the user who started a run may scale it");
      default:
        return os_error("connect to", run_dir / kName, errno);
    }
  }
  if (peer_of(socket) != ::geteuid()) {
    return invalid("only the user who started a run may scale it");
  }
  return socket;
}

}  // namespace

Result<Scaled> ask_scale(const fs::path& run_dir, std::uint32_t agents, int limit_ms) {
  INSTEP_ASSIGN_OR_RETURN(const Fd socket, connect_to(run_dir));
  if (!put(socket, as_line(Json{{"scale", agents}}))) {
    return Error{ErrorKind::kUnavailable, "its launcher has just ended"};
  }
  INSTEP_ASSIGN_OR_RETURN(const std::string line, read_line(socket, limit_ms));
  const Json json = Json::parse(line, nullptr, false);
  const auto from = agents_in(json, "from"), to = agents_in(json, "to");
  if (from && to) return Scaled{*from, *to};
  const auto error = json.is_object() ? json.find("error") : json.end();
  if (error == json.end() || !error->is_string()) {
    return Error{ErrorKind::kMismatch, "its launcher gave an answer that is none"};
  }
  const bool mine = json.value("kind", Json()) == "invalid";
  return Error{mine ? ErrorKind::kInvalid : ErrorKind::kInternal, error->get<std::string>()};
}

}  // namespace instep::coord
