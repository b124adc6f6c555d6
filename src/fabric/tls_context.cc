#include <algorithm>

#include "fabric/openssl.h"
#include "fabric/tls.h"

namespace instep::fabric {
namespace {

// AES in hardware is the fastest; whoever has none prefers the third.
constexpr const char* kCiphers =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr int kChainDepth = 1;

bool restrict_protocol(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_verify_depth(context, kChainDepth);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, kCiphers) == 1 &&
         SSL_CTX_set_num_tickets(context, 0) == 1;
}

// The authority goes along with the certificate: at first contact it is known by its fingerprint.
Status use_identity(SSL_CTX* context, const Identity& identity) {
  const Certificate certificate = certificate_of(identity.certificate);
  const Certificate authority = certificate_of(identity.authority);
  const Key key = key_of(identity.key);
  if (!certificate || !authority || !key) {
    return openssl_error("this host's certificate, its key or its authority cannot be read");
  }
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
      SSL_CTX_add1_chain_cert(context, authority.get()) != 1 ||
      X509_STORE_add_cert(store, authority.get()) != 1) {
    return openssl_error("this host's certificate cannot be used");
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::make(bool server, const Identity* identity) {
  ERR_clear_error();
  const std::shared_ptr<TlsContext> out(new TlsContext);
  out->server_ = server;
  out->context_.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* context = out->context_.get();
  if (context == nullptr || !restrict_protocol(context)) return openssl_error("TLS cannot be used");
  if (identity != nullptr) INSTEP_RETURN_IF_ERROR(use_identity(context, *identity));
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, TlsSession::verify, nullptr);
  return out;
}

Result<std::shared_ptr<TlsContext>> TlsContext::server(const Identity& identity,
                                                       bool allow_without_certificate) {
  INSTEP_ASSIGN_OR_RETURN(auto out, make(true, &identity));
  if (allow_without_certificate) SSL_CTX_set_verify(out->get(), SSL_VERIFY_PEER, nullptr);
  return out;
}

Result<std::shared_ptr<TlsContext>> TlsContext::client(const Identity& identity) {
  return make(false, &identity);
}

Result<std::shared_ptr<TlsContext>> TlsContext::first_contact(std::string fingerprint,
                                                              std::string disbelief) {
  INSTEP_CHECK(!fingerprint.empty(), "whom to trust is said");
  INSTEP_ASSIGN_OR_RETURN(auto out, make(false, nullptr));
  out->fingerprint_ = std::move(fingerprint);
  out->disbelief_ = std::move(disbelief);
  return out;
}

}  // namespace instep::fabric
