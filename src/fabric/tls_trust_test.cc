// Who is believed, and what is said to who is not.
#include <openssl/x509v3.h>

#include "fabric/testing_links.h"
#include "fabric/testing_raw.h"

namespace instep::fabric {
namespace {

constexpr std::int64_t kYear = 365 * 24 * 60 * 60;

struct People {
  explicit People(const Validity& validity = usual_validity(std::time(nullptr)))
      : authority(Authority::make("test", validity).take()),
        coordinator(authority.issue("coordinator").take()),
        host(authority.issue("host-2").take()) {}
  Authority authority;
  Identity coordinator, host;
};

ListenOptions open_to_strangers() {
  ListenOptions out;
  out.allow_without_certificate = true;
  return out;
}

TEST(TlsTrust, AStrangerWithTheFingerprintMaySayOneThingAndIsAnswered) {
  const People run;
  Server server(run.coordinator, open_to_strangers());
  Client client;
  const Status linked =
      client.connect_by_fingerprint(server.address(), run.authority.fingerprint());
  ASSERT_TRUE(linked.ok()) << linked.error().message;
  EXPECT_EQ(client.link->peer(), "coordinator");
  EXPECT_EQ(server.link(0).peer(), "");
  client.send({1, 0, 0, 0, 0}, bytes_of("let me in"));
  EXPECT_EQ(text_of(server.sink(0).wait_frames(1)[0]), "let me in");
  in(server.loop, [&] { return server.link(0).send({2, 0, 0, 0, 0}, bytes_of("welcome")), 0; });
  EXPECT_EQ(text_of(client.sink.wait_frames(1)[0]), "welcome");
  client.send({1, 0, 0, 0, 0}, bytes_of("and more"));
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kInvalid);
  EXPECT_EQ(server.sink(0).wait_frames(1).size(), 1U);
}

TEST(TlsTrust, AnotherFingerprintIsAnotherRun) {
  const People run, other;
  Server server(run.coordinator, open_to_strangers());
  Client client;
  const Status linked =
      client.connect_by_fingerprint(server.address(), other.authority.fingerprint());
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch);
  EXPECT_NE(linked.error().message.find("fingerprint"), std::string::npos);
}

// The fingerprint alone is public: who has another's certificate, and not its key, is not believed.
TEST(TlsTrust, TheAuthoritysCertificateIsNoProofOfBeingItsHost) {
  const People run, other;
  Identity false_flag = other.coordinator;
  false_flag.authority = run.authority.certificate();
  Server server(false_flag, open_to_strangers());
  Client client;
  const Status linked =
      client.connect_by_fingerprint(server.address(), run.authority.fingerprint());
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch);
}

TEST(TlsTrust, AHostOfAnotherRunIsTurnedAwayAndToldSo) {
  const People run, other;
  for (const bool strangers : {false, true}) {
    Server server(run.coordinator, strangers ? open_to_strangers() : ListenOptions());
    Identity mixed = other.host;
    mixed.authority = run.authority.certificate();  // it would believe the server
    Client client;
    const Status linked = client.connect(server.address(), mixed);
    ASSERT_FALSE(linked.ok());
    EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch) << linked.error().message;
    EXPECT_EQ(server.accepted(), 0U);
  }
}

TEST(TlsTrust, ACoordinatorOfAnotherRunIsNotBelieved) {
  const People run, other;
  Server server(other.coordinator);
  Client client;
  const Status linked = client.connect(server.address(), run.host);
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch);
  EXPECT_NE(linked.error().message.find("another run"), std::string::npos);
}

TEST(TlsTrust, WithoutACertificateNobodyGetsInWhereOneIsNeeded) {
  const People run;
  Server server(run.coordinator);
  Client client;
  const Status linked =
      client.connect_by_fingerprint(server.address(), run.authority.fingerprint());
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch) << linked.error().message;
  EXPECT_EQ(server.accepted(), 0U);
}

TEST(TlsTrust, ACertificateOutOfDateNamesTheClock) {
  const std::int64_t now = std::time(nullptr);
  for (const Validity& validity :
       {Validity{now - 2 * kYear, now - kYear}, Validity{now + kYear, now + 2 * kYear}}) {
    const People run(validity);
    Server server(run.coordinator, open_to_strangers());
    Client client;
    for (const Status& linked :
         {client.connect(server.address(), run.host),
          client.connect_by_fingerprint(server.address(), run.authority.fingerprint())}) {
      ASSERT_FALSE(linked.ok());
      EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch);
      EXPECT_NE(linked.error().message.find("this machine's clock says"), std::string::npos)
          << linked.error().message;
    }
  }
}

TEST(TlsTrust, AServerThatFindsOursOutOfDateSaysSo) {
  const std::int64_t now = std::time(nullptr);
  const People run;
  const People old({now - 2 * kYear, now - kYear});
  Identity server_side = run.coordinator;
  server_side.authority = old.authority.certificate();
  Server server(server_side, open_to_strangers());
  RawTls client(server.listener->port(), &old.host);
  EXPECT_FALSE(client.connect());
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
  ERR_clear_error();
}

TEST(TlsTrust, AnotherNameThanExpectedIsAnError) {
  const People run;
  Server server(run.coordinator);
  Client client;
  ConnectOptions options;
  options.peer = "host-3";
  const Status linked = client.connect(server.address(), run.host, options);
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kMismatch);
  options.peer = "coordinator";
  EXPECT_TRUE(client.connect(server.address(), run.host, options).ok());
}

// A certificate for `name` that is signed by a host instead of the authority.
Identity signed_by(const Identity& host, const std::string& name) {
  const Certificate issuer = certificate_of(host.certificate);
  const Key issuer_key = key_of(host.key);
  const Key key(EVP_EC_gen("P-256"));
  const Certificate made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 7);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -1000);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 1000);
  X509_set_pubkey(made.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.data()), -1, -1, 0);
  X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.get()));
  EXPECT_GT(X509_sign(made.get(), issuer_key.get(), EVP_sha256()), 0);
  const Bio certificate_pem(BIO_new(BIO_s_mem())), key_pem(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_pem.get(), made.get());
  PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(certificate_pem), text_of(key_pem), host.authority};
}

TEST(TlsTrust, AHostCannotLetOthersIn) {
  const People run;
  Server server(run.coordinator, open_to_strangers());
  const Identity rogue = signed_by(run.host, "coordinator");
  RawTls client(server.listener->port(), &rogue);
  client.add_to_chain(run.host.certificate);
  EXPECT_FALSE(client.connect());
  EXPECT_EQ(server.accepted(), 0U);
}

TEST(TlsTrust, OnlyTls13IsSpoken) {
  const People run;
  Server server(run.coordinator);
  RawTls old(server.listener->port(), &run.host, TLS1_2_VERSION);
  EXPECT_FALSE(old.connect());
  RawTls present(server.listener->port(), &run.host);
  EXPECT_TRUE(present.connect());
  EXPECT_STREQ(SSL_get_cipher(present.ssl()), "TLS_AES_128_GCM_SHA256");
}

}  // namespace
}  // namespace instep::fabric
