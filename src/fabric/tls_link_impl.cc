#include "fabric/tls_link_impl.h"

#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "fabric/address.h"
#include "fabric/tcp_flow.h"

namespace instep::fabric {
namespace {

using Step = TlsSession::Step;

// What one step reads or writes at most, so that a loop's other links have their turn.
constexpr std::size_t kStepBytes = 1 << 20;

Error gone() { return {ErrorKind::kUnavailable, "it ended the connection"}; }

std::string address_of(const asio::ip::tcp::socket& socket) {
  asio::error_code failed;
  const auto endpoint = socket.remote_endpoint(failed);
  if (failed) return "an unknown address";
  auto number = endpoint.address();
  // As a listener on all addresses sees who comes by IPv4.
  if (number.is_v6() && number.to_v6().is_v4_mapped()) {
    number = asio::ip::make_address_v4(asio::ip::v4_mapped, number.to_v6());
  }
  return to_text(Address{number.to_string(), endpoint.port()});
}

}  // namespace

TlsLink::Impl::Impl(Loop& loop, Socket socket, std::shared_ptr<TlsContext> context,
                    const LinkLimits& limits)
    : loop_(loop),
      socket_(std::move(socket)),
      limits_(limits),
      address_(address_of(socket_)),
      session_(std::move(context), socket_.native_handle()),
      reader_({[this](const FrameHead& head) { return place(head); },
               [this](const FrameHead& head) { return took(head); }}) {
  asio::error_code ignored;
  ignored = socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

void TlsLink::Impl::open(std::function<void(Status)> done) {
  opened_ = std::move(done);
  budget_ = after(limits_.handshake_ms, [](Impl& self) {
    self.end({ErrorKind::kUnavailable, cat("it did not finish the TLS handshake within ",
                                           self.limits_.handshake_ms, " ms")});
  });
  shake();
}

// What keeps a link alive is its owner, or the socket it waits for; never its own timer.
Timer TlsLink::Impl::after(std::int64_t milliseconds, void (*due)(Impl&)) {
  return loop_.after(milliseconds, [weak = weak_from_this(), due] {
    if (const auto self = weak.lock()) due(*self);
  });
}

void TlsLink::Impl::shake() {
  const auto step = session_.handshake();
  if (!step.ok()) return end(step.error());
  if (*step == Step::kEnded) return end(gone());
  if (*step == Step::kDone) return shaken();
  await_readable();
  if (session_.unsent() > 0) await_writable();
}

void TlsLink::Impl::shaken() {
  written_ns_ = heard_ns_ = monotonic_ns();
  if (session_.is_server()) {
    push(FrameHead{}, std::vector<std::byte>());
    return greeted({});
  }
  state_ = State::kGreeting;
  read_step();
}

void TlsLink::Impl::greeted(const Status& status) {
  budget_.cancel();
  state_ = State::kOpen;
  beat_due_ns_ = monotonic_ns() + limits_.ping_ms * kMillisecond;
  beat_ = after(limits_.ping_ms, [](Impl& self) { self.beat(); });
  if (const auto opened = std::exchange(opened_, nullptr)) opened(status);
}

void TlsLink::Impl::limit_unproved() {
  reader_.limit(1, limits_.first_frame_bytes);
  budget_ = after(limits_.first_frame_ms, [](Impl& self) {
    self.end(
        {ErrorKind::kUnavailable, cat("it has no certificate and did not say what it wants within ",
                                      self.limits_.first_frame_ms, " ms")});
  });
}

void TlsLink::Impl::start(TlsLink* owner, Sink* sink) {
  INSTEP_CHECK(here(), "a link is used in its loop's thread");
  INSTEP_CHECK(sink_ == nullptr, "a link is started once");
  owner_ = owner;
  sink_ = sink;
  heard_ns_ = monotonic_ns();
  soon(&Impl::read_step);
}

// One that ended before it was started: its sink, unless it was closed since, is to know.
void TlsLink::Impl::tell_end() {
  Sink* const sink = std::exchange(sink_, nullptr);
  if (sink != nullptr) sink->closed(*owner_, *ended_);
}

void TlsLink::Impl::push(const FrameHead& head, std::vector<std::byte> payload) {
  INSTEP_CHECK(here(), "a link is used in its loop's thread");
  if (state_ == State::kFinishing || state_ == State::kClosed) return;
  outbox_.push(head, std::move(payload));
  soon(&Impl::write_step);
}

void TlsLink::Impl::push(const FrameHead& head, std::span<const std::byte> payload,
                         std::function<void()> sent) {
  INSTEP_CHECK(here(), "a link is used in its loop's thread");
  if (state_ == State::kFinishing || state_ == State::kClosed) return;
  outbox_.push(head, payload, std::move(sent));
  soon(&Impl::write_step);
}

// Not at once: what is sent in one go shares its records, and a sink that sends is not in two
// steps.
void TlsLink::Impl::soon(void (Impl::*step)()) {
  bool& queued = step == &Impl::read_step ? reads_soon_ : writes_soon_;
  if (std::exchange(queued, true)) return;
  loop_.post([self = shared_from_this(), step, &queued] {
    queued = false;
    (self.get()->*step)();
  });
}

void TlsLink::Impl::await_readable() {
  if (std::exchange(awaits_readable_, true)) return;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const asio::error_code&) {
    self->awaits_readable_ = false;
    if (self->state_ == State::kShaking) return self->shake();
    self->read_step();
  });
}

void TlsLink::Impl::await_writable() {
  if (std::exchange(awaits_writable_, true)) return;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const asio::error_code&) {
    self->awaits_writable_ = false;
    if (self->state_ == State::kShaking) return self->shake();
    self->write_step();
  });
}

void TlsLink::Impl::read_step() {
  if (ended_) return tell_end();
  std::size_t taken = 0;
  while (state_ != State::kClosed && (state_ != State::kOpen || sink_ != nullptr)) {
    if (taken >= kStepBytes) return soon(&Impl::read_step);
    const bool drop = state_ == State::kFinishing;
    if (drop) dropped_.resize(Outbox::kRecordBytes);
    const auto read = session_.read(drop ? std::span(dropped_) : reader_.wanted());
    if (!read.ok()) return end(read.error());
    if (read->step == Step::kEnded) return end(gone());
    // To read may have made something to send: the answer to a change of keys.
    if (session_.unsent() > 0) soon(&Impl::write_step);
    if (read->step == Step::kWaiting) return await_readable();
    taken += read->bytes;
    if (drop) continue;
    const Status status = reader_.filled(read->bytes);
    if (!status.ok() && state_ != State::kFinishing) return end(status.error());
  }
}

Result<std::span<std::byte>> TlsLink::Impl::place(const FrameHead& head) {
  if (sink_ == nullptr) return invalid("a frame came before the greeting");
  auto placed = sink_->place(*owner_, head);
  if (sink_ == nullptr) return gone();  // the sink has closed the link
  return placed;
}

Status TlsLink::Impl::took(const FrameHead& head) {
  if (state_ == State::kGreeting) {
    if (head.kind != kPing) return invalid("a frame came before the greeting");
    greeted({});
    return {};
  }
  if (head.kind == kPing) return {};
  if (!is_proved()) budget_.cancel();
  return sink_->took(*owner_, head);
}

Status TlsLink::Impl::fill_session() {
  while (!outbox_.empty() && session_.unsent() < limits_.sending_bytes) {
    const std::span<const std::byte> record = outbox_.next_record();
    INSTEP_RETURN_IF_ERROR(session_.write(record));
    encrypted_ += record.size();
    if (encrypted_ >= limits_.change_key_bytes) {
      session_.change_key();
      encrypted_ = 0;
    }
    outbox_.took_record();
  }
  return {};
}

void TlsLink::Impl::write_step() {
  if (state_ == State::kClosed || state_ == State::kShaking || awaits_writable_) return;
  for (std::size_t steps = 0; !outbox_.empty() || session_.unsent() > 0;
       steps += limits_.sending_bytes) {
    if (steps >= kStepBytes) return soon(&Impl::write_step);
    const Status filled = fill_session();
    if (state_ == State::kClosed) return;
    if (!filled.ok()) return end(filled.error());
    written_ns_ = monotonic_ns();
    window_.follow(socket_.native_handle(), written_ns_);
    const auto flushed = session_.flush();
    if (!flushed.ok()) return end(flushed.error());
    if (*flushed == Step::kEnded) return end(gone());
    if (*flushed == Step::kWaiting) return await_writable();
  }
  if (state_ == State::kFinishing) finish_step();
}

// Everything is sent. The socket stays until the other end closes it: closed with something unread
// in it, it would take back what is under way.
void TlsLink::Impl::finish_step() {
  session_.say_goodbye();
  (void)session_.flush();
  asio::error_code ignored;
  ignored = socket_.shutdown(Socket::shutdown_send, ignored);
  soon(&Impl::read_step);
}

std::optional<LinkFlow> TlsLink::Impl::flow() {
  if (state_ != State::kOpen) return std::nullopt;
  auto flow = tcp_flow(socket_.native_handle());
  if (!flow) return std::nullopt;
  flow->waiting_bytes += queued_bytes();
  return flow;
}

void TlsLink::Impl::finish() {
  INSTEP_CHECK(here(), "a link is used in its loop's thread");
  if (state_ != State::kOpen) return close();
  state_ = State::kFinishing;
  sink_ = nullptr;
  beat_.cancel();
  budget_ = after(limits_.handshake_ms, [](Impl& self) { self.close(); });
  soon(&Impl::write_step);
}

void TlsLink::Impl::beat() {
  const std::int64_t now = monotonic_ns();
  // This process itself may have stood still: what came meanwhile is read before anybody is judged,
  // and the time is not the other end's (design, rule 11).
  heard_ns_ += std::max<std::int64_t>(0, now - beat_due_ns_);
  judge_silence();
  if (state_ != State::kOpen) return;
  const std::int64_t ping_ns = limits_.ping_ms * kMillisecond;
  if (outbox_.empty() && now - written_ns_ >= ping_ns) push(FrameHead{}, std::vector<std::byte>());
  const std::int64_t wait_ns = std::clamp(written_ns_ + ping_ns - now, ping_ns / 4, ping_ns);
  beat_due_ns_ = now + wait_ns;
  beat_ = after(std::max<std::int64_t>(1, wait_ns / kMillisecond), [](Impl& self) { self.beat(); });
}

void TlsLink::Impl::judge_silence() {
  if (sink_ == nullptr) return;
  const auto hears = [this] {
    if (std::exchange(heard_bytes_, session_.received()) != session_.received()) {
      heard_ns_ = monotonic_ns();
    }
    return monotonic_ns() - heard_ns_ < limits_.silence_ms * kMillisecond;
  };
  if (hears()) return;
  read_step();
  if (state_ != State::kOpen || hears()) return;
  end({ErrorKind::kUnavailable, cat("nothing was heard of it for ", limits_.silence_ms, " ms")});
}

void TlsLink::Impl::end(const Error& why) {
  if (state_ == State::kClosed) return;
  const auto opened = std::exchange(opened_, nullptr);
  Sink* const sink = sink_;
  close();
  ended_ = Error{why.kind, cat(address_, ": ", why.message)};
  if (opened) return opened(*ended_);
  sink_ = sink;
  tell_end();
}

void TlsLink::Impl::close() {
  INSTEP_CHECK(here(), "a link is used in its loop's thread");
  sink_ = nullptr;
  if (std::exchange(state_, State::kClosed) == State::kClosed) return;
  opened_ = nullptr;
  outbox_.clear();
  budget_.cancel();
  beat_.cancel();
  session_.say_goodbye();
  (void)session_.flush();
  close_socket(socket_);
}

}  // namespace instep::fabric
