// For tests of links: a client that does not keep to the rules, with blocking calls of its own.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <memory>
#include <string>
#include <utility>

#include "base/file.h"
#include "fabric/address.h"
#include "fabric/authority.h"
#include "fabric/frame.h"
#include "fabric/openssl.h"

namespace instep::fabric {

// A TCP connection to 127.0.0.1; a call that waits longer than a test may is a failure.
inline Fd raw_connection(std::uint16_t port) {
  Fd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{60, 0};
  EXPECT_EQ(::setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return out;
}

// Whether the other end closes it, whatever it says before.
inline bool is_closed_by_peer(const Fd& socket) {
  std::array<char, 4096> bytes{};
  while (true) {
    const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return got == 0 || errno == ECONNRESET;
  }
}

// OpenSSL as others use it.
class RawTls {
 public:
  // Without an identity it shows no certificate. It believes everybody.
  RawTls(std::uint16_t port, const Identity* identity, int version = TLS1_3_VERSION)
      : socket_(raw_connection(port)), context_(SSL_CTX_new(TLS_client_method())), ssl_(nullptr) {
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (identity != nullptr) {
      const Certificate certificate = certificate_of(identity->certificate);
      const Key key = key_of(identity->key);
      EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), certificate.get()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), key.get()), 1);
    }
  }
  void add_to_chain(const std::string& certificate_pem) {
    const Certificate certificate = certificate_of(certificate_pem);
    EXPECT_EQ(SSL_CTX_add1_chain_cert(context_.get(), certificate.get()), 1);
  }

  // Whether the handshake succeeds, and the server's greeting comes.
  bool connect() {
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), socket_.get());
    return SSL_connect(ssl_.get()) == 1 && read(kFrameHeadBytes).size() == kFrameHeadBytes;
  }
  void write(std::span<const std::byte> bytes) {
    EXPECT_GT(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), 0);
  }
  // Fewer at the connection's end.
  std::vector<std::byte> read(std::size_t bytes) {
    std::vector<std::byte> out(bytes);
    std::size_t filled = 0;
    while (filled < bytes) {
      const int got = SSL_read(ssl_.get(), out.data() + filled, static_cast<int>(bytes - filled));
      if (got <= 0) break;
      filled += static_cast<std::size_t>(got);
    }
    out.resize(filled);
    return out;
  }
  const Fd& socket() const { return socket_; }
  SSL* ssl() { return ssl_.get(); }

 private:
  Fd socket_;
  std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Freer<SSL_free>> ssl_;
};

}  // namespace instep::fabric
