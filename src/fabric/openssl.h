// Owners of OpenSSL's objects, and its errors as ours.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "base/text.h"

namespace instep::fabric {

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* it) const {
    kFree(it);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using CertificateRequest = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;

// What OpenSSL last complained about in this thread; forgets it.
inline std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : cat("OpenSSL's error ", code);
}
inline Error openssl_error(std::string_view what) {
  return {ErrorKind::kInternal, cat(what, ": ", openssl_reason())};
}

inline Bio bio_of(std::string_view text) {
  const std::size_t size = text.size() <= std::numeric_limits<int>::max() ? text.size() : 0;
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(size)));
}
inline std::string text_of(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

// For the readers of PEM: without it, an encrypted one asks for its password at the terminal.
inline int no_password(char*, int, int, void*) { return -1; }

inline Certificate certificate_of(std::string_view pem) {
  return Certificate(PEM_read_bio_X509(bio_of(pem).get(), nullptr, no_password, nullptr));
}
inline Key key_of(std::string_view pem) {
  return Key(PEM_read_bio_PrivateKey(bio_of(pem).get(), nullptr, no_password, nullptr));
}

// SHA-256 of the public key (the DER of its SubjectPublicKeyInfo), 64 hexadecimal digits; empty
// where OpenSSL refuses.
inline std::string fingerprint_of(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = key != nullptr ? i2d_PUBKEY(key, &der) : -1;
  if (size < 0) return "";
  std::string out =
      sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return out;
}
inline std::string fingerprint_of(const X509* certificate) {
  return fingerprint_of(X509_get0_pubkey(certificate));
}

inline Result<std::string> pem_of(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio ||
      PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_error("cannot write a key");
  }
  return text_of(bio);
}

}  // namespace instep::fabric
