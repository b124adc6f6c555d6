#include "coord/hub_info.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/testing_folder.h"
#include "fabric/join_line.h"

namespace instep::coord {
namespace {

using HubInfoTest = FolderTest;

const std::string kFingerprint(64, 'a');
const std::string kToken = "abcdef." + std::string(24, 'x');

TEST_F(HubInfoTest, IsReadAsItWasWritten) {
  ASSERT_TRUE(write_hub_info(folder_, {"10.0.0.2:4600", kFingerprint}).ok());
  const auto info = read_hub_info(folder_);
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->address, "10.0.0.2:4600");
  EXPECT_EQ(info->authority, kFingerprint);
  EXPECT_EQ(token_book_path(folder_), folder_ / "tokens.json");
}

TEST_F(HubInfoTest, ARunOfOneHostHasNone) {
  const auto info = read_hub_info(folder_);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.error().kind, ErrorKind::kNotFound);
  EXPECT_NE(info.error().message.find("instep coordinator"), std::string::npos);
}

TEST_F(HubInfoTest, WhatIsNoHubInfoIsSaidToBeDamaged) {
  for (const char* text :
       {"", "{", "[]", "7", R"({"address":"a:1"})", R"({"authority":"f"})",
        R"({"address":1,"authority":"f"})", R"({"address":"a","authority":[]})"}) {
    std::ofstream(folder_ / "hub.json") << text;
    const auto info = read_hub_info(folder_);
    ASSERT_FALSE(info.ok()) << text;
    EXPECT_EQ(info.error().kind, ErrorKind::kCorrupt) << text;
    EXPECT_NE(info.error().message.find("hub.json"), std::string::npos);
  }
}

TEST(JoinLineOfHub, IsWhatAHostReads) {
  for (const char* address : {"10.0.0.2:4600", "node7:1", "[::1]:4600"}) {
    const auto line = join_line({address, kFingerprint}, kToken);
    ASSERT_TRUE(line.ok()) << line.error().message;
    const auto read = fabric::parse_join_line(*line);
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->token, kToken);
    EXPECT_EQ(read->authority, kFingerprint);
    EXPECT_NE(line->find(std::string("//") + address + "/"), std::string::npos);
  }
}

TEST(JoinLineOfHub, OfNoUseIsNotHandedOut) {
  EXPECT_FALSE(join_line({"node7", kFingerprint}, kToken).ok());
  EXPECT_FALSE(join_line({"no de:1", kFingerprint}, kToken).ok());
  EXPECT_FALSE(join_line({"node7:1", "abc"}, kToken).ok());
  EXPECT_FALSE(join_line({"node7:1", kFingerprint}, "abc").ok());
}

}  // namespace
}  // namespace instep::coord
