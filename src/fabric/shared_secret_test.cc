#include "fabric/shared_secret.h"

#include <gtest/gtest.h>

#include <ctime>

#include "fabric/authority.h"
#include "fabric/testing_links.h"
#include "fabric/token_book.h"

namespace instep::fabric {
namespace {

constexpr const char* kSecret = "correct horse battery staple";

// As other code computes it: hashlib.scrypt, and points of the curve by hand.
TEST(SharedSecret, KeysAreKnown) {
  const SharedKeys keys = derive_keys(kSecret, "run-1").take();
  EXPECT_EQ(keys.fingerprint, "3a05ed596d733b66c683edfebacbbf4b8314e70a086bbc2ef642b6ddc40a7012");
  EXPECT_EQ(keys.token, "sp7bxp.azb82z6xzuxuwzcbi8ivtthj");
  EXPECT_TRUE(is_token(keys.token));
}

TEST(SharedSecret, AnotherSecretOrAnotherRunIsAnotherKeyAndAnotherToken) {
  const SharedKeys keys = derive_keys(kSecret, "run-1").take();
  for (const SharedKeys& other : {derive_keys("correct horse battery stable", "run-1").take(),
                                  derive_keys(kSecret, "run-2").take()}) {
    EXPECT_NE(other.authority_key, keys.authority_key);
    EXPECT_NE(other.fingerprint, keys.fingerprint);
    EXPECT_NE(other.token, keys.token);
  }
}

// Each host makes the line by itself; only the first one makes a certificate.
TEST(SharedSecret, AnAuthorityWithTheKeyHasTheFingerprintWheneverItIsMade) {
  const SharedKeys keys = derive_keys(kSecret, "run-1").take();
  const Validity now = usual_validity(std::time(nullptr)), long_ago = usual_validity(0);
  const Authority one = Authority::with_key("run-1", keys.authority_key, now).take();
  const Authority other = Authority::with_key("again", keys.authority_key, long_ago).take();
  EXPECT_NE(one.certificate(), other.certificate());
  EXPECT_EQ(one.fingerprint(), keys.fingerprint);
  EXPECT_EQ(other.fingerprint(), keys.fingerprint);
  EXPECT_FALSE(Authority::with_key("run-1", "no key", now).ok());
}

// A host of an earlier run would otherwise take its number for its own.
TEST(SharedSecret, RunsWithOneKeyAndOneNameDoNotBelieveEachOthersHosts) {
  const SharedKeys keys = derive_keys(kSecret, "run-1").take();
  const Validity now = usual_validity(std::time(nullptr));
  const Authority earlier = Authority::with_key("run-1", keys.authority_key, now).take();
  const Authority later = Authority::with_key("run-1", keys.authority_key, now).take();
  Server server(later.issue("host-0").take());
  Client mine, stranger, deceived;
  EXPECT_TRUE(mine.connect(server.address(), later.issue("host-1").take()).ok());
  EXPECT_EQ(server.accepted(), 1U);
  const Identity left = earlier.issue("host-1").take();
  const Status refused = stranger.connect(server.address(), left);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("another run"), std::string::npos);
  Identity credulous = left;
  credulous.authority = later.certificate();  // it would believe the server
  EXPECT_FALSE(deceived.connect(server.address(), credulous).ok());
  EXPECT_EQ(server.accepted(), 1U);
}

}  // namespace
}  // namespace instep::fabric
