#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fabric/openssl.h"
#include "fabric/tls.h"
#include "fabric/tls_verify.h"

namespace instep::fabric {
namespace {

// So much is read from the socket at once: a dozen records a system call.
constexpr std::size_t kInBytes = 256 << 10;
// Of whom nobody knows yet, and of whom there may be many a second.
constexpr std::size_t kStrangersBytes = 16 << 10;

bool is_gone(int error_number) {
  return error_number == ECONNRESET || error_number == EPIPE || error_number == ETIMEDOUT ||
         error_number == ENOTCONN || error_number == EHOSTUNREACH || error_number == ENETUNREACH ||
         error_number == ENETDOWN || error_number == ECONNABORTED;
}

Error socket_error(std::string_view what, int error_number) {
  return {ErrorKind::kInternal, cat(what, ": ", std::strerror(error_number))};
}

}  // namespace

TlsSession::TlsSession(std::shared_ptr<TlsContext> context, int socket)
    : context_(std::move(context)), socket_(socket), ssl_(SSL_new(context_->get())) {
  BIO* bio = BIO_new(transport());
  INSTEP_CHECK(ssl_ && bio != nullptr, "memory for a TLS session");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (context_->is_server()) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
  }
}

int TlsSession::verify(X509_STORE_CTX* store, void*) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<TlsSession*>(SSL_get_app_data(ssl));
  self->refused_ =
      why_not_believed(store, self->context_->fingerprint(), self->context_->disbelief());
  return self->refused_.empty() ? 1 : 0;
}

const BIO_METHOD* TlsSession::transport() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "link");
    INSTEP_CHECK(made != nullptr, "memory for OpenSSL");
    BIO_meth_set_read_ex(made, transport_read);
    BIO_meth_set_write_ex(made, transport_write);
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long {
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    return made;
  }();
  return kMethod;
}

int TlsSession::transport_read(BIO* bio, char* into, std::size_t wanted, std::size_t* got) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->in_begin_ == self->in_end_) {
    const auto filled = self->fill();
    if (!filled.ok() || *filled == Step::kEnded) return 0;
    if (*filled == Step::kWaiting) {
      BIO_set_retry_read(bio);
      return 0;
    }
  }
  *got = std::min(wanted, self->in_end_ - self->in_begin_);
  std::memcpy(into, self->in_.data() + self->in_begin_, *got);
  self->in_begin_ += *got;
  return 1;
}

int TlsSession::transport_write(BIO* bio, const char* from, std::size_t size, std::size_t* put) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  const auto* bytes = reinterpret_cast<const std::byte*>(from);
  self->out_.insert(self->out_.end(), bytes, bytes + size);
  *put = size;
  return 1;
}

Result<TlsSession::Step> TlsSession::fill() {
  // All that was in it has been taken.
  const std::size_t room = peer_.empty() ? kStrangersBytes : kInBytes;
  if (in_.size() < room) in_.resize(room);
  while (true) {
    const ssize_t got = ::recv(socket_, in_.data(), in_.size(), MSG_DONTWAIT);
    if (got > 0) {
      in_begin_ = 0;
      in_end_ = static_cast<std::size_t>(got);
      received_ += in_end_;
      return Step::kDone;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Step::kWaiting;
    ended_ = got == 0 || is_gone(errno);
    if (ended_) return Step::kEnded;
    socket_error_ = errno;
    return socket_error("cannot receive", socket_error_);
  }
}

Result<TlsSession::Step> TlsSession::handshake() {
  ERR_clear_error();
  refused_.clear();
  const int done = SSL_do_handshake(ssl_.get());
  // What it has to say goes out even if it failed: an alert tells the other end why.
  const int code = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
  if (code != SSL_ERROR_NONE && code != SSL_ERROR_WANT_READ) {
    Result<Step> why = failed(code, "the TLS handshake failed");
    (void)flush();
    return why;
  }
  INSTEP_ASSIGN_OR_RETURN(const Step flushed, flush());
  if (code == SSL_ERROR_WANT_READ || flushed != Step::kDone) {
    return flushed == Step::kEnded ? Step::kEnded : Step::kWaiting;
  }
  const Certificate shown(SSL_get1_peer_certificate(ssl_.get()));
  peer_ = shown ? common_name(shown.get()) : "";
  return Step::kDone;
}

Result<TlsSession::Step> TlsSession::failed(int code, std::string_view what) {
  if (socket_error_ != 0) return socket_error("cannot receive", socket_error_);
  if (!refused_.empty()) return Error{ErrorKind::kMismatch, refused_};
  const unsigned long last = ERR_peek_last_error();
  const int reason = ERR_GET_REASON(last);
  if (ended_ || code == SSL_ERROR_ZERO_RETURN || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    ERR_clear_error();
    return Step::kEnded;
  }
  if (std::string complaint = complaint_about_us(reason); !complaint.empty()) {
    ERR_clear_error();
    return Error{ErrorKind::kMismatch, std::move(complaint)};
  }
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    ERR_clear_error();
    return Error{ErrorKind::kMismatch, "it shows no certificate"};
  }
  return invalid(cat(what, " (", openssl_reason(), "): does instep run there?"));
}

Result<TlsSession::Read> TlsSession::read(std::span<std::byte> into) {
  ERR_clear_error();
  std::size_t got = 0;
  if (SSL_read_ex(ssl_.get(), into.data(), into.size(), &got) == 1) return Read{Step::kDone, got};
  const int code = SSL_get_error(ssl_.get(), 0);
  if (code == SSL_ERROR_WANT_READ) return Read{Step::kWaiting, 0};
  INSTEP_ASSIGN_OR_RETURN(const Step step, failed(code, "what came is damaged"));
  return Read{step, 0};
}

Status TlsSession::write(std::span<const std::byte> record) {
  ERR_clear_error();
  std::size_t put = 0;
  if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &put) != 1) {
    return openssl_error("cannot encrypt");
  }
  INSTEP_CHECK(put == record.size(), "a record is written whole: its buffer grows");
  return {};
}

Result<TlsSession::Step> TlsSession::flush() {
  while (out_sent_ < out_.size()) {
    const ssize_t put = ::send(socket_, out_.data() + out_sent_, out_.size() - out_sent_,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Step::kWaiting;
      if (is_gone(errno)) return Step::kEnded;
      return socket_error("cannot send", errno);
    }
    out_sent_ += static_cast<std::size_t>(put);
  }
  out_.clear();
  out_sent_ = 0;
  return Step::kDone;
}

void TlsSession::say_goodbye() {
  ERR_clear_error();
  if (SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

void TlsSession::change_key() {
  INSTEP_CHECK(SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1,
               "a key is changed between records");
}

}  // namespace instep::fabric
