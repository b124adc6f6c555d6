// The run's own certificate authority. Whoever takes part in a run shows a certificate that this
// authority has signed, and knows the authority by its certificate, or at first contact by the
// fingerprint of its key. Keys are EC P-256. The authority's key is in memory only: with the
// process that made it goes the power to let others in, but for one that is derived from a secret
// (shared_secret.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace instep::fabric {

// What one end of a link shows and trusts, each as PEM.
struct Identity {
  std::string certificate;
  std::string key;
  std::string authority;  // the authority's certificate
};

// A certificate signing request and the key that stays with who makes it.
struct Request {
  std::string pem;
  std::string key;
};

struct Validity {
  std::int64_t from_unix_s = 0;
  std::int64_t until_unix_s = 0;
};
// From a day before, since clocks differ, for ten years.
Validity usual_validity(std::int64_t now_unix_s);

class Authority {
 public:
  static Result<Authority> make(const std::string& run_name);
  static Result<Authority> make(const std::string& run_name, const Validity& validity);
  // With this key, PEM, in the place of a new one.
  static Result<Authority> with_key(const std::string& run_name, const std::string& key_pem,
                                    const Validity& validity);

  const std::string& certificate() const;  // PEM
  std::string fingerprint() const;

  // A certificate and a fresh key for `name`, 1 to 64 letters, digits, '.', '_' and '-'.
  Result<Identity> issue(const std::string& name) const;
  // The certificate for a key that was made elsewhere. Nothing of the request is believed but its
  // key, which must be EC P-256 and have signed the request.
  Result<std::string> sign(const std::string& request_pem, const std::string& name) const;

 private:
  struct State;
  explicit Authority(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
};

Result<Request> make_request();
// SHA-256 of the certificate's public key (the DER of its SubjectPublicKeyInfo), 64 hexadecimal
// digits: of an authority, what its hosts know it by.
Result<std::string> fingerprint_of(const std::string& certificate_pem);

}  // namespace instep::fabric
