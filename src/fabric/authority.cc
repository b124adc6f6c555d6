#include "fabric/authority.h"

#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/utf8.h"
#include "fabric/openssl.h"

namespace instep::fabric {
namespace {

constexpr std::int64_t kDay = 24 * 60 * 60;
constexpr std::size_t kMostRequest = 16 << 10;
constexpr std::size_t kMostName = 64;  // of a common name, in RFC 5280
constexpr const char* kCurve = "P-256";
constexpr const char* kGroup = "prime256v1";  // OpenSSL's name of it

Result<Key> make_key() {
  Key key(EVP_EC_gen(kCurve));
  if (!key) return openssl_error("cannot make a key");
  return key;
}

Result<std::string> pem_of(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return openssl_error("cannot write a certificate");
  }
  return text_of(bio);
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kMostName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

bool set_name(X509_NAME* to, const std::string& name) {
  const auto* text = reinterpret_cast<const unsigned char*>(name.data());
  return X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_UTF8, text, static_cast<int>(name.size()),
                                    -1, 0) == 1;
}

Result<std::uint64_t> random_number() {
  std::uint64_t out = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&out), sizeof out) == 1) return out;
  return openssl_error("cannot draw a random number");
}

bool set_serial(X509* certificate) {
  const auto serial = random_number();
  return serial.ok() &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), (*serial >> 1) | 1) == 1;
}

bool set_validity(X509* certificate, const Validity& validity) {
  return ASN1_TIME_set(X509_getm_notBefore(certificate), validity.from_unix_s) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), validity.until_unix_s) != nullptr;
}

bool add_extension(X509* certificate, X509* issuer, int what, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, what, value);
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

// A certificate without a signature.
Certificate draw(const std::string& name, EVP_PKEY* key, const Validity& validity) {
  Certificate out(X509_new());
  const bool drawn = out && X509_set_version(out.get(), X509_VERSION_3) == 1 &&
                     set_serial(out.get()) && set_validity(out.get(), validity) &&
                     set_name(X509_get_subject_name(out.get()), name) &&
                     X509_set_pubkey(out.get(), key) == 1;
  if (!drawn) out.reset();
  return out;
}

Result<Certificate> make_root(const std::string& name, EVP_PKEY* key, const Validity& validity) {
  Certificate out = draw(name, key, validity);
  X509* it = out.get();
  const bool made = it != nullptr && X509_set_issuer_name(it, X509_get_subject_name(it)) == 1 &&
                    add_extension(it, it, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    add_extension(it, it, NID_key_usage, "critical,keyCertSign") &&
                    add_extension(it, it, NID_subject_key_identifier, "hash") &&
                    X509_sign(it, key, EVP_sha256()) > 0;
  if (!made) return openssl_error("cannot make the run's certificate");
  return out;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t size = 0;
  return EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data(), size) == kGroup;
}

}  // namespace

struct Authority::State {
  Certificate certificate;
  Key key;
  Validity validity;
  std::string pem;

  Result<std::string> certify(const std::string& name, EVP_PKEY* of) const {
    if (!is_name(name)) {
      return invalid(cat("'", name.substr(0, kMostName),
                         "' cannot be the name in a certificate; it has 1 to ", kMostName,
                         " letters, digits, '.', '_' and '-'"));
    }
    const Certificate made = draw(name, of, validity);
    X509* it = made.get();
    X509* root = certificate.get();
    const bool ok = it != nullptr && X509_set_issuer_name(it, X509_get_subject_name(root)) == 1 &&
                    add_extension(it, root, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(it, root, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(it, root, NID_ext_key_usage, "serverAuth,clientAuth") &&
                    add_extension(it, root, NID_subject_key_identifier, "hash") &&
                    add_extension(it, root, NID_authority_key_identifier, "keyid:always") &&
                    X509_sign(it, key.get(), EVP_sha256()) > 0;
    if (!ok) return openssl_error(cat("cannot make a certificate for ", name));
    return pem_of(it);
  }
};

Validity usual_validity(std::int64_t now_unix_s) {
  return {now_unix_s - kDay, now_unix_s + 3652 * kDay};
}

Result<Authority> Authority::make(const std::string& run_name) {
  return make(run_name, usual_validity(std::time(nullptr)));
}

Result<Authority> Authority::make(const std::string& run_name, const Validity& validity) {
  INSTEP_ASSIGN_OR_RETURN(const Key key, make_key());
  INSTEP_ASSIGN_OR_RETURN(const std::string pem, pem_of(key.get()));
  return with_key(run_name, pem, validity);
}

Result<Authority> Authority::with_key(const std::string& run_name, const std::string& key_pem,
                                      const Validity& validity) {
  auto state = std::make_shared<State>();
  state->validity = validity;
  state->key = key_of(key_pem);
  if (!state->key || !is_p256(state->key.get())) {
    ERR_clear_error();
    return invalid("the key of a run's authority must be EC P-256");
  }
  // By the number runs with one key are told apart, even if they have one name: none believes the
  // certificates of another. The name is for people who look at it, so it may be cut.
  INSTEP_ASSIGN_OR_RETURN(const std::uint64_t number, random_number());
  const std::string name = fit(cat("instep run ", number, ' ', run_name), kMostName);
  INSTEP_ASSIGN_OR_RETURN(state->certificate, make_root(name, state->key.get(), validity));
  INSTEP_ASSIGN_OR_RETURN(state->pem, pem_of(state->certificate.get()));
  return Authority(std::move(state));
}

const std::string& Authority::certificate() const { return state_->pem; }

std::string Authority::fingerprint() const {
  return fabric::fingerprint_of(state_->certificate.get());
}

Result<Identity> Authority::issue(const std::string& name) const {
  INSTEP_ASSIGN_OR_RETURN(const Key key, make_key());
  INSTEP_ASSIGN_OR_RETURN(std::string certificate, state_->certify(name, key.get()));
  INSTEP_ASSIGN_OR_RETURN(std::string key_pem, pem_of(key.get()));
  return Identity{std::move(certificate), std::move(key_pem), state_->pem};
}

Result<std::string> Authority::sign(const std::string& request_pem, const std::string& name) const {
  if (request_pem.size() > kMostRequest) {
    return invalid(cat("a certificate request of ", request_pem.size(), " bytes; at most ",
                       kMostRequest, " are allowed"));
  }
  const CertificateRequest request(
      PEM_read_bio_X509_REQ(bio_of(request_pem).get(), nullptr, no_password, nullptr));
  EVP_PKEY* key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  if (key == nullptr) {
    return invalid(cat("what came is no certificate request: ", openssl_reason()));
  }
  if (!is_p256(key)) return invalid("the key of a certificate request must be EC P-256");
  if (X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return invalid("a certificate request is not signed with its own key");
  }
  return state_->certify(name, key);
}

Result<Request> make_request() {
  INSTEP_ASSIGN_OR_RETURN(const Key key, make_key());
  const CertificateRequest request(X509_REQ_new());
  const Bio bio(BIO_new(BIO_s_mem()));
  const bool made = request && bio &&
                    X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                    X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
                    X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0 &&
                    PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1;
  if (!made) return openssl_error("cannot make a certificate request");
  INSTEP_ASSIGN_OR_RETURN(std::string key_pem, pem_of(key.get()));
  return Request{text_of(bio), std::move(key_pem)};
}

Result<std::string> fingerprint_of(const std::string& certificate_pem) {
  const Certificate certificate = certificate_of(certificate_pem);
  if (!certificate) return invalid(cat("what came is no certificate: ", openssl_reason()));
  return fingerprint_of(certificate.get());
}

}  // namespace instep::fabric
