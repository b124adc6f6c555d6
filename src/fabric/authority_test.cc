#include "fabric/authority.h"

#include <gtest/gtest.h>

#include <openssl/x509v3.h>

#include <ctime>

#include "base/hash.h"
#include "fabric/openssl.h"
#include "fabric/tls_verify.h"

namespace instep::fabric {
namespace {

// Whether the authority's certificate vouches for this one today.
bool vouches(const Authority& authority, const std::string& certificate_pem) {
  const Certificate certificate = certificate_of(certificate_pem);
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, certificate_of(authority.certificate()).get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
  const bool out = X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return out;
}

// A request that is signed, or not, with a key of this kind.
std::string request_with(const Key& key, const Key& signs) {
  const CertificateRequest request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key.get());
  EXPECT_GT(X509_REQ_sign(request.get(), signs.get(), EVP_sha256()), 0);
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return text_of(bio);
}

TEST(Authority, IssuesCertificatesThatItVouchesForAndNobodyElse) {
  const Authority authority = Authority::make("run-1").take();
  const Authority namesake = Authority::make("run-1").take();
  const Identity identity = authority.issue("host-2").take();
  EXPECT_EQ(identity.authority, authority.certificate());
  EXPECT_TRUE(vouches(authority, identity.certificate));
  EXPECT_FALSE(vouches(namesake, identity.certificate));
  EXPECT_EQ(common_name(certificate_of(identity.certificate).get()), "host-2");
  EXPECT_EQ(X509_check_private_key(certificate_of(identity.certificate).get(),
                                   key_of(identity.key).get()),
            1);
}

TEST(Authority, TheFingerprintIsTheHashOfThePublicKey) {
  const Authority authority = Authority::make("run-1").take();
  const Certificate certificate = certificate_of(authority.certificate());
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &der);
  EXPECT_EQ(authority.fingerprint(),
            sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)}));
  OPENSSL_free(der);
  EXPECT_EQ(*fingerprint_of(authority.certificate()), authority.fingerprint());
  EXPECT_FALSE(fingerprint_of("no certificate").ok());
}

TEST(Authority, SignsARequestUnderTheNameThatItChooses) {
  const Authority authority = Authority::make("run-1").take();
  const Request request = make_request().take();
  const std::string certificate = authority.sign(request.pem, "host-3").take();
  EXPECT_TRUE(vouches(authority, certificate));
  EXPECT_EQ(common_name(certificate_of(certificate).get()), "host-3");
  EXPECT_EQ(X509_check_private_key(certificate_of(certificate).get(), key_of(request.key).get()),
            1);
  EXPECT_EQ(X509_check_ca(certificate_of(certificate).get()), 0);
}

TEST(Authority, RefusesRequestsThatAreNotJustWhatIsAskedFor) {
  const Authority authority = Authority::make("run-1").take();
  const Key key(EVP_EC_gen("P-256")), other(EVP_EC_gen("P-256")), curve(EVP_EC_gen("P-384"));
  const Key rsa(EVP_RSA_gen(2048));
  EXPECT_TRUE(authority.sign(request_with(key, key), "a").ok());
  EXPECT_FALSE(authority.sign(request_with(key, other), "a").ok()) << "not its own signature";
  EXPECT_FALSE(authority.sign(request_with(curve, curve), "a").ok()) << "another curve";
  EXPECT_FALSE(authority.sign(request_with(rsa, rsa), "a").ok()) << "another kind of key";
  EXPECT_FALSE(authority.sign("", "a").ok());
  EXPECT_FALSE(authority.sign("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "a").ok());
  EXPECT_FALSE(authority.sign(std::string(1 << 20, 'x'), "a").ok());
}

TEST(Authority, NamesArePlain) {
  const Authority authority = Authority::make("run-1").take();
  EXPECT_TRUE(authority.issue("A-b_c.9").ok());
  EXPECT_TRUE(authority.issue(std::string(64, 'x')).ok());
  for (const std::string& name :
       {std::string(), std::string(65, 'x'), std::string("a b"), std::string("a/CN=b"),
        std::string("a\0b", 3), std::string("h\xc3\xa4")}) {
    EXPECT_FALSE(authority.issue(name).ok()) << name;
  }
}

TEST(Authority, ARunMayHaveAnyName) {
  std::string umlauts;
  for (int i = 0; i < 500; ++i) umlauts += "\xc3\xa4";
  for (const std::string& name :
       {std::string(500, 'x'), umlauts, "x" + umlauts, std::string("\xff")}) {
    const auto authority = Authority::make(name);
    ASSERT_TRUE(authority.ok()) << authority.error().message;
    EXPECT_TRUE(vouches(*authority, authority->issue("a")->certificate));
  }
}

TEST(Authority, CertificatesAreValidFromADayAgoForTenYears) {
  const Validity validity = usual_validity(1'000'000'000);
  EXPECT_EQ(validity.from_unix_s, 1'000'000'000 - 86'400);
  EXPECT_EQ(validity.until_unix_s, 1'000'000'000 + 3652LL * 86'400);
  const Authority old = Authority::make("run-1", usual_validity(0)).take();
  EXPECT_FALSE(vouches(old, old.issue("a")->certificate));
}

}  // namespace
}  // namespace instep::fabric
