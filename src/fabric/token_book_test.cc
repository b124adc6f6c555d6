#include "fabric/token_book.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <thread>

#include "base/testing_folder.h"

namespace instep::fabric {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNow = 1'750'000'000;

class TokenBookTest : public FolderTest {
 protected:
  fs::path path() const { return folder_ / "tokens.json"; }
  TokenBook book() const { return TokenBook::open(path()).take(); }
  std::string content() const { return read_file(path(), 1 << 20).take(); }
  static TokenVerdict take(TokenBook& book, const std::string& token, std::int64_t now = kNow) {
    return book.take(token, now)->verdict;
  }
};

TEST_F(TokenBookTest, ATokenOfTwoUsesIsGoodForTwo) {
  TokenBook book = this->book();
  const std::string token = book.make(2, std::nullopt, kNow).take();
  EXPECT_TRUE(is_token(token));
  EXPECT_EQ(take(book, token), TokenVerdict::kGranted);
  EXPECT_EQ(take(book, token), TokenVerdict::kGranted);
  EXPECT_EQ(take(book, token), TokenVerdict::kUsedUp);
  const auto listed = book.list().take();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].id, token.substr(0, 6));
  EXPECT_EQ(listed[0].used, 2U);
  EXPECT_EQ(listed[0].uses_left, 0U);
}

TEST_F(TokenBookTest, WithoutBoundsATokenIsGoodForEver) {
  TokenBook book = this->book();
  const std::string token = book.make(std::nullopt, std::nullopt, kNow).take();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(take(book, token, kNow * 10), TokenVerdict::kGranted);
  EXPECT_EQ(book.list()->at(0).used, 5U);
}

TEST_F(TokenBookTest, ATokenExpiresAtItsTime) {
  TokenBook book = this->book();
  const std::string token = book.make(std::nullopt, kNow + 60, kNow).take();
  EXPECT_EQ(take(book, token, kNow + 59), TokenVerdict::kGranted);
  EXPECT_EQ(take(book, token, kNow + 60), TokenVerdict::kExpired);
  EXPECT_NE(to_status(*book.take(token, kNow + 60)).error().message.find("2025-06-15 15:07 UTC"),
            std::string::npos);
}

TEST_F(TokenBookTest, OneThatIsRevokedLetsNobodyIn) {
  TokenBook book = this->book();
  const std::string token = book.make(5, std::nullopt, kNow).take();
  const std::string other = book.make(5, std::nullopt, kNow).take();
  EXPECT_TRUE(book.revoke(token.substr(0, 6)).ok());
  EXPECT_EQ(take(book, token), TokenVerdict::kRevoked);
  EXPECT_EQ(take(book, other), TokenVerdict::kGranted);
  EXPECT_EQ(book.revoke("nosuch").error().kind, ErrorKind::kNotFound);
}

TEST_F(TokenBookTest, AWrongSecretIsAsUnknownAsAWrongName) {
  TokenBook book = this->book();
  const std::string token = book.make(1, std::nullopt, kNow).take();
  std::string secret = token, name = token;
  secret.back() = secret.back() == 'a' ? 'b' : 'a';
  name[0] = name[0] == 'a' ? 'b' : 'a';
  for (const std::string& wrong :
       {secret, name, token.substr(1), token + "a", std::string(), std::string(31, '\0')}) {
    const TokenAnswer answer = book.take(wrong, kNow).take();
    EXPECT_EQ(answer.verdict, TokenVerdict::kUnknown);
    EXPECT_TRUE(answer.token.id.empty());
    EXPECT_FALSE(to_status(answer).ok());
  }
  EXPECT_EQ(take(book, token), TokenVerdict::kGranted);  // no use was counted
}

TEST_F(TokenBookTest, TwoBooksOnOneFileAreOne) {
  TokenBook command = book(), coordinator = book();
  const std::string token = command.make(1, std::nullopt, kNow).take();
  EXPECT_EQ(take(coordinator, token), TokenVerdict::kGranted);
  EXPECT_EQ(take(command, token), TokenVerdict::kUsedUp);
  const std::string another = coordinator.make(1, std::nullopt, kNow).take();
  EXPECT_TRUE(command.revoke(another.substr(0, 6)).ok());
  EXPECT_EQ(take(coordinator, another), TokenVerdict::kRevoked);
}

TEST_F(TokenBookTest, ATokenThatWasMadeElsewhereLetsAllIn) {
  TokenBook book = this->book();
  const std::string token = "abcdef.abcdefghijkmnpqrstuvwxyz";
  EXPECT_EQ(take(book, token), TokenVerdict::kUnknown);
  EXPECT_TRUE(book.know(token, kNow).ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take(book, token, kNow * 2), TokenVerdict::kGranted);
  EXPECT_EQ(content().find(token.substr(7)), std::string::npos);
  EXPECT_FALSE(book.know(token, kNow).ok());
  EXPECT_FALSE(book.know("abcdef.short", kNow).ok());
}

// Each use is counted once, whoever counts at the same time.
TEST_F(TokenBookTest, UsesAreNotLostBetweenBooks) {
  const std::string token = book().make(30, std::nullopt, kNow).take();
  std::atomic<int> granted = 0;
  std::vector<std::thread> takers;
  for (int t = 0; t < 4; ++t) {
    takers.emplace_back([&] {
      TokenBook own = book();
      for (int i = 0; i < 10; ++i) granted += take(own, token) == TokenVerdict::kGranted ? 1 : 0;
    });
  }
  for (std::thread& taker : takers) taker.join();
  EXPECT_EQ(granted, 30);
}

TEST_F(TokenBookTest, TheFileHoldsNoSecretAndIsTheOwnersAlone) {
  TokenBook book = this->book();
  const std::string token = book.make(1, std::nullopt, kNow).take();
  EXPECT_NE(content().find(token.substr(0, 6)), std::string::npos);
  EXPECT_EQ(content().find(token.substr(7)), std::string::npos);
  for (const fs::path& file : {path(), fs::path(path().string() + ".lock")}) {
    EXPECT_EQ(fs::status(file).permissions() & fs::perms::all,
              fs::perms::owner_read | fs::perms::owner_write);
  }
}

TEST_F(TokenBookTest, ADamagedFileIsAnErrorAndNotAnEmptyBook) {
  TokenBook book = this->book();
  (void)book.make(1, std::nullopt, kNow).take();
  const std::string whole = content();
  std::string other_id = whole;
  other_id.replace(other_id.find("\"id\": \"") + 7, 1, "!");
  for (const std::string& damaged :
       {std::string(), std::string("[]"), std::string("{}"), whole.substr(0, whole.size() / 2),
        other_id, std::string(R"({"format": 2, "tokens": []})"),
        std::string(R"({"format": 1, "tokens": [7]})"), std::string(200'000, '[')}) {
    std::ofstream(path(), std::ios::trunc) << damaged;
    EXPECT_EQ(TokenBook::open(path()).status().error().kind, ErrorKind::kCorrupt) << damaged;
    EXPECT_FALSE(book.list().ok());
    EXPECT_FALSE(book.make(1, std::nullopt, kNow).ok());
    EXPECT_EQ(content(), damaged);
  }
  std::ofstream(path(), std::ios::trunc) << whole;
  EXPECT_TRUE(book.list().ok());
}

TEST_F(TokenBookTest, AFullBookForgetsWhatIsSpentAndRefusesElse) {
  TokenBook book = this->book();
  const std::string first = book.make(1, std::nullopt, kNow).take();
  // One by one would wait a thousand times for the disk.
  std::string text = content();
  const std::size_t begin = text.find('{', 1), end = text.rfind('}', text.size() - 3);
  const std::string entry = text.substr(begin, end - begin + 1);
  std::string many = entry;
  for (int i = 1; i < 1000; ++i) many += "," + entry;
  std::ofstream(path(), std::ios::trunc) << text.replace(begin, end - begin + 1, many);
  ASSERT_EQ(book.list()->size(), 1000U);
  EXPECT_FALSE(book.make(1, std::nullopt, kNow).ok());
  EXPECT_EQ(take(book, first), TokenVerdict::kGranted);  // spends one of them
  EXPECT_TRUE(book.make(1, std::nullopt, kNow).ok());
  EXPECT_EQ(book.list()->size(), 1000U);
}

TEST_F(TokenBookTest, ATokenThatLetsNobodyInIsNotMade) {
  TokenBook book = this->book();
  EXPECT_FALSE(book.make(0, std::nullopt, kNow).ok());
  EXPECT_FALSE(book.make(1, kNow, kNow).ok());
  EXPECT_TRUE(book.list()->empty());
}

TEST_F(TokenBookTest, TokensDiffer) {
  TokenBook book = this->book();
  std::set<std::string> secrets;
  for (int i = 0; i < 20; ++i) secrets.insert(book.make(1, std::nullopt, kNow)->substr(7));
  EXPECT_EQ(secrets.size(), 20U);
}

// A use that could not be written down is not granted.
TEST_F(TokenBookTest, AFileThatCannotBeWrittenGrantsNothing) {
  TokenBook book = this->book();
  const std::string token = book.make(1, std::nullopt, kNow).take();
  fs::create_directory(path().string() + ".tmp");  // in the way of the new file
  EXPECT_FALSE(book.take(token, kNow).ok());
  fs::remove(path().string() + ".tmp");
  EXPECT_EQ(take(book, token), TokenVerdict::kGranted);
}

TEST(TokenBook, AFolderThatIsNotThereIsNamed) {
  const auto book = TokenBook::open("/nowhere/tokens.json");
  ASSERT_FALSE(book.ok());
  EXPECT_EQ(book.error().kind, ErrorKind::kNotFound);
}

}  // namespace
}  // namespace instep::fabric
