// What a loop is made of, for those of this folder who put sockets on it.
#pragma once

// A loop's one thread hands work over under asio's mutexes; its fences, which the thread sanitizer
// does not know, are for several.
#if defined(__SANITIZE_THREAD__)
#define ASIO_DISABLE_FENCED_BLOCK
#endif
#include <sys/socket.h>

#include <asio.hpp>
#include <atomic>
#include <cerrno>
#include <thread>

#include "fabric/loop.h"

namespace instep::fabric {

struct Loop::State {
  bool here() const {
    const std::thread::id runs_on = runner.load();
    return runs_on == std::thread::id() || runs_on == std::this_thread::get_id();
  }

  std::thread thread;
  std::atomic<std::thread::id> runner;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
};

// A socket for connecting or listening that programs which are started meanwhile do not inherit, as
// they would asio's own: a link that an agent holds too outlives the launcher.
template <class Socket>
void open_socket(Socket& socket, const asio::ip::tcp& protocol, asio::error_code& failed) {
  const int fd = ::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC, protocol.protocol());
  if (fd < 0) {
    failed.assign(errno, asio::error::get_system_category());
  } else {
    failed = socket.assign(protocol, fd, failed);
  }
}

// Whatever it was waiting for comes with an error.
template <class Socket>
void close_socket(Socket& socket) {
  asio::error_code ignored;
  ignored = socket.close(ignored);
}

}  // namespace instep::fabric
