// A link's inside: one step machine over a socket that does not block. All memory of others is
// touched in steps, in the loop's thread, so a link that is closed between two steps is fenced.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fabric/loop_state.h"
#include "fabric/tcp_window.h"
#include "fabric/tls.h"
#include "fabric/tls_link.h"

namespace instep::fabric {

class TlsLink::Impl : public std::enable_shared_from_this<TlsLink::Impl> {
 public:
  using Socket = asio::ip::tcp::socket;

  Impl(Loop& loop, Socket socket, std::shared_ptr<TlsContext> context, const LinkLimits& limits);

  // Handshake and greeting. A server greets with a ping once it believes the client, so a client
  // that is turned away learns it here and not from the link's end. `done` is called once, unless
  // the link is closed before.
  void open(std::function<void(Status)> done);
  // Of a peer without a certificate.
  void limit_unproved();
  bool is_open() const { return state_ == State::kOpen; }
  bool is_closed() const { return state_ == State::kClosed; }
  bool is_proved() const { return !session_.peer().empty(); }

  void start(TlsLink* owner, Sink* sink);
  void push(const FrameHead& head, std::vector<std::byte> payload);
  void push(const FrameHead& head, std::span<const std::byte> payload, std::function<void()> sent);
  std::size_t queued_bytes() const { return outbox_.bytes() + session_.unsent(); }
  std::optional<LinkFlow> flow();
  void close();
  // Tells whoever is concerned, then closes.
  void end(const Error& why);
  void finish();
  bool is_finishing() const { return state_ == State::kFinishing; }

  const std::string& peer() const { return session_.peer(); }
  const std::string& address() const { return address_; }
  bool here() const { return loop_.here(); }

 private:
  enum class State {
    kShaking,    // TLS handshake
    kGreeting,   // a client waits for the first ping
    kOpen,       // frames
    kFinishing,  // what is queued is sent, what comes is dropped
    kClosed,
  };

  Timer after(std::int64_t milliseconds, void (*due)(Impl&));
  void shake();
  void shaken();
  void greeted(const Status& status);
  void await_readable();
  void await_writable();
  void soon(void (Impl::*step)());
  void read_step();
  void write_step();
  Status fill_session();
  void finish_step();
  void tell_end();
  void beat();
  void judge_silence();
  Result<std::span<std::byte>> place(const FrameHead& head);
  Status took(const FrameHead& head);

  Loop& loop_;
  Socket socket_;
  LinkLimits limits_;
  std::string address_;
  TlsSession session_;
  FrameReader reader_;
  Outbox outbox_;
  TcpWindow window_;
  State state_ = State::kShaking;
  std::function<void(Status)> opened_;
  TlsLink* owner_ = nullptr;
  Sink* sink_ = nullptr;
  std::optional<Error> ended_;  // why, if not by close()

  bool awaits_readable_ = false;
  bool awaits_writable_ = false;
  bool reads_soon_ = false;
  bool writes_soon_ = false;
  std::uint64_t encrypted_ = 0;  // bytes under the present key

  Timer budget_;  // handshake, first frame, finishing
  Timer beat_;
  std::int64_t beat_due_ns_ = 0;
  std::int64_t written_ns_ = 0;
  std::int64_t heard_ns_ = 0;
  std::uint64_t heard_bytes_ = 0;
  std::vector<std::byte> dropped_;  // where a finishing link reads to
};

}  // namespace instep::fabric
