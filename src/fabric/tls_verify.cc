#include "fabric/tls_verify.h"

#include <openssl/x509_vfy.h>

#include <ctime>

#include "fabric/clock_text.h"
#include "fabric/openssl.h"

namespace instep::fabric {
namespace {

std::int64_t unix_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return ::timegm(&parts);
}

std::string clock_words(const X509* certificate) {
  return cat("this machine's clock says ", clock_text(std::time(nullptr)), ", the certificate of ",
             common_name(certificate), " is valid from ",
             clock_text(unix_of(X509_get0_notBefore(certificate))), " to ",
             clock_text(unix_of(X509_get0_notAfter(certificate))), "; set the clock that is wrong");
}

// The certificate of the chain that has the fingerprint.
X509* find(STACK_OF(X509) * chain, const std::string& fingerprint) {
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* it = sk_X509_value(chain, i);
    if (fingerprint_of(it) == fingerprint) return it;
  }
  return nullptr;
}

std::string words_of(X509_STORE_CTX* store) {
  const int error = X509_STORE_CTX_get_error(store);
  const X509* at = X509_STORE_CTX_get_current_cert(store);
  switch (error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return at != nullptr ? clock_words(at)
                           : "a certificate is out of date; set the clock that is wrong";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "it belongs to another run (its certificate is not of this run's authority)";
    default:
      return cat("its certificate is not believed: ", X509_verify_cert_error_string(error));
  }
}

}  // namespace

std::string why_not_believed(X509_STORE_CTX* store, const std::string& fingerprint,
                             const std::string& disbelief) {
  if (fingerprint.empty()) return X509_verify_cert(store) == 1 ? "" : words_of(store);
  X509* root = find(X509_STORE_CTX_get0_untrusted(store), fingerprint);
  if (root == nullptr) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    if (!disbelief.empty()) return disbelief;
    return "its fingerprint is another than in the join line: either the line is of another run, "
           "or somebody stands between; ask for a new line";
  }
  STACK_OF(X509)* trusted = sk_X509_new_null();
  const bool one = trusted != nullptr && sk_X509_push(trusted, root) > 0;
  X509_STORE_CTX_set0_trusted_stack(store, trusted);
  std::string out = one && X509_verify_cert(store) == 1 ? "" : words_of(store);
  sk_X509_free(trusted);
  return out;
}

std::string complaint_about_us(int ssl_reason) {
  switch (ssl_reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
      return "it refuses this host's certificate, which is of another run";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "it lets nobody in without a certificate of its run";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return cat("by its clock this host's certificate is out of date; this machine's clock says ",
                 clock_text(std::time(nullptr)), "; set the clock that is wrong");
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return "it refuses this host's certificate";
    default:
      return "";
  }
}

std::string common_name(const X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return "";
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return "";
  std::string out(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return out;
}

}  // namespace instep::fabric
