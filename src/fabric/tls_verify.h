// Whether a certificate is believed, and why not, in words.
#pragma once

#include <openssl/ssl.h>

#include <string>

#include "base/result.h"

namespace instep::fabric {

// Verifies the chain; if `fingerprint` is not empty, trusting the one in it that has this
// fingerprint. The words say why it is not believed, `disbelief` where none has it (empty: as of a
// join line); they are empty if it is.
std::string why_not_believed(X509_STORE_CTX* store, const std::string& fingerprint,
                             const std::string& disbelief);

// The other end's complaint in a TLS alert, where it is one about our certificate; else empty.
std::string complaint_about_us(int ssl_reason);

// The common name of a certificate's subject.
std::string common_name(const X509* certificate);

}  // namespace instep::fabric
