// TLS as links use it: 1.3 only, both ends known by the run's authority, no tickets, no
// renegotiation, no early data. A session moves bytes between a socket that does not block and
// buffers; it waits for nothing, so whoever owns it decides when and for how long.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "fabric/authority.h"

namespace instep::fabric {

// What many sessions share: certificate, key, and whom to trust.
class TlsContext {
 public:
  // A server may let in who has no certificate; a wrong one never gets in.
  static Result<std::shared_ptr<TlsContext>> server(const Identity& identity,
                                                    bool allow_without_certificate);
  static Result<std::shared_ptr<TlsContext>> client(const Identity& identity);
  // Without a certificate of its own; trusts the authority with this fingerprint, which the server
  // must send along. `disbelief`: ConnectOptions.
  static Result<std::shared_ptr<TlsContext>> first_contact(std::string fingerprint,
                                                           std::string disbelief);

  SSL_CTX* get() const { return context_.get(); }
  const std::string& fingerprint() const { return fingerprint_; }
  const std::string& disbelief() const { return disbelief_; }
  bool is_server() const { return server_; }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  TlsContext() = default;
  static Result<std::shared_ptr<TlsContext>> make(bool server, const Identity* identity);

  std::unique_ptr<SSL_CTX, Free> context_;
  std::string fingerprint_, disbelief_;
  bool server_ = false;
};

class TlsSession {
 public:
  // `socket` stays the caller's, and open as long as the session.
  TlsSession(std::shared_ptr<TlsContext> context, int socket);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  enum class Step {
    kDone,
    kWaiting,  // for the socket: to be readable, or writable where something is unsent()
    kEnded,    // the other end has gone
  };
  Result<Step> handshake();
  struct Read {
    Step step = Step::kDone;
    std::size_t bytes = 0;
  };
  Result<Read> read(std::span<std::byte> into);
  // Encrypts at most a record's worth; flush() sends it.
  Status write(std::span<const std::byte> record);
  Result<Step> flush();
  // Tells the other end that nothing more comes.
  void say_goodbye();
  bool is_server() const { return context_->is_server(); }

  std::size_t unsent() const { return out_.size() - out_sent_; }
  // Bytes that came from the socket, and that went to it.
  std::uint64_t received() const { return received_; }
  // Once the handshake is done: the common name in the other end's certificate, empty without one.
  const std::string& peer() const { return peer_; }

  // Changes the key that is sent with from here on.
  void change_key();

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  static int verify(X509_STORE_CTX* store, void*);
  static int transport_read(BIO* bio, char* into, std::size_t wanted, std::size_t* got);
  static int transport_write(BIO* bio, const char* from, std::size_t size, std::size_t* put);
  static const BIO_METHOD* transport();
  friend class TlsContext;

  Result<Step> fill();
  Result<Step> failed(int code, std::string_view what);

  std::shared_ptr<TlsContext> context_;
  int socket_;
  std::vector<std::byte> in_;  // encrypted, as it came
  std::size_t in_begin_ = 0, in_end_ = 0;
  std::vector<std::byte> out_;  // encrypted, to be sent
  std::size_t out_sent_ = 0;
  std::uint64_t received_ = 0;
  int socket_error_ = 0;
  bool ended_ = false;
  std::string refused_;  // why the other end's certificate is not believed
  std::string peer_;
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace instep::fabric
