#include "fabric/join_line.h"

#include <gtest/gtest.h>

#include "fabric/address.h"

namespace instep::fabric {
namespace {

const std::string kToken = "k3v9qa.abcdefghijkmnpqrstuvwxyz";
const std::string kHash(64, 'a');

std::string line(const std::string& address, const std::string& token = kToken,
                 const std::string& hash = kHash) {
  return "instep://" + address + "/" + token + "@sha256:" + hash;
}

// What the error of a refused text says.
std::string why(const std::string& text) {
  const auto parsed = parse_join_line(text);
  EXPECT_FALSE(parsed.ok()) << text;
  return parsed.ok() ? "" : parsed.error().message;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(JoinLine, IsReadAsItIsWritten) {
  for (const char* const host : {"10.0.0.2", "node-7.cluster", "::1", "fe80::1%eth0"}) {
    const JoinLine written{host, 4600, kToken, kHash};
    const auto read = parse_join_line(" \t" + to_text(written) + "\r\n");
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->host, host);
    EXPECT_EQ(read->port, 4600);
    EXPECT_EQ(read->token, kToken);
    EXPECT_EQ(read->authority, kHash);
  }
  EXPECT_EQ(to_text(JoinLine{"::1", 1, kToken, kHash}), line("[::1]:1"));
}

TEST(JoinLine, ErrorsNameThePartThatIsWrongAndNotTheToken) {
  EXPECT_TRUE(has(why("  "), "empty"));
  EXPECT_TRUE(has(why("http://x"), "instep://"));
  EXPECT_TRUE(has(why("instep://10.0.0.2:4600"), "token"));
  EXPECT_TRUE(has(why(line("10.0.0.2")), "port"));
  EXPECT_TRUE(has(why(line("10.0.0.2:0")), "port"));
  EXPECT_TRUE(has(why(line("10.0.0.2:65536")), "port"));
  EXPECT_TRUE(has(why(line(":4600")), "host"));
  EXPECT_TRUE(has(why(line("::1:4600")), "brackets"));
  EXPECT_TRUE(has(why("instep://10.0.0.2:4600/" + kToken), "fingerprint"));
  EXPECT_TRUE(has(why(line("10.0.0.2:4600", kToken.substr(1))), "token"));
  EXPECT_TRUE(has(why(line("10.0.0.2:4600", kToken, kHash.substr(1))), "fingerprint"));
  EXPECT_TRUE(has(why(line("10.0.0.2:4600", kToken, std::string(64, 'A'))), "fingerprint"));
  EXPECT_TRUE(has(why(line("10.0.0.2:4600") + "/"), "fingerprint"));
  EXPECT_TRUE(has(why("instep://10.0.0.2:4600/" + kToken + "@md5:" + kHash), "sha256"));
  EXPECT_TRUE(has(why(line(std::string(2000, 'x') + ":1")), "longer"));
  EXPECT_FALSE(has(why(line("10.0.0.2:4600", kToken, "x")), kToken));
}

TEST(Address, HostsAndPorts) {
  const auto expect = [](const std::string& text, const std::string& host, int port) {
    const auto read = parse_address(text, 4600);
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->host, host);
    EXPECT_EQ(read->port, port);
    EXPECT_EQ(parse_address(to_text(*read), 1)->port, port);
  };
  expect("10.0.0.2:1", "10.0.0.2", 1);
  expect("10.0.0.2", "10.0.0.2", 4600);
  expect("node7", "node7", 4600);
  expect("0.0.0.0:0", "0.0.0.0", 0);
  expect("[::1]:65535", "::1", 65535);
  expect("[::]", "::", 4600);
  for (const char* const text :
       {"", ":4600", "a:", "a:b", "a:-1", "a:65536", "a:1x", "a:1:2", "[::1", "[::1]4600",
        "[::1]:", "[10.0.0.1]:1", "::1", "a b:1", "a/b:1", "a@b", "[]:1"}) {
    EXPECT_FALSE(parse_address(text, 1).ok()) << text;
  }
  EXPECT_TRUE(has(parse_address(":4600", 1).error().message, "0.0.0.0"));
  EXPECT_LT(parse_address(std::string(1 << 20, 'x'), 1).error().message.size(), 400U);
}

}  // namespace
}  // namespace instep::fabric
