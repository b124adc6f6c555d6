// The commands for what concerns the other hosts of a run: its tokens and its audit log.
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>

#include "cli/testing.h"
#include "coord/audit.h"
#include "coord/hub_info.h"
#include "coord/run_dir.h"
#include "fabric/join_line.h"
#include "fabric/token_book.h"

namespace instep::cli {
namespace {
namespace fs = std::filesystem;

class SharedRunTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    run_.emplace(coord::RunDir::create("r", "j").take());
    ASSERT_TRUE(run_->write_info({}).ok());
  }
  void open_to_hosts() {
    ASSERT_TRUE(coord::write_hub_info(run_->path(), {"node7:4600", std::string(64, 'a')}).ok());
  }
  // The join line of a token that is made.
  fabric::JoinLine make(const std::vector<std::string>& flags) {
    std::vector<std::string> words = {"token", "r", "--make"};
    words.insert(words.end(), flags.begin(), flags.end());
    EXPECT_EQ(instep(words), 0) << errors_;
    EXPECT_TRUE(errors_.empty()) << errors_;
    EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1) << out_;
    auto line = fabric::parse_join_line(out_);
    EXPECT_TRUE(line.ok()) << out_;
    return line.ok() ? line.take() : fabric::JoinLine{};
  }
  fabric::TokenVerdict take(const std::string& token) {
    auto book = fabric::TokenBook::open(coord::token_book_path(run_->path())).take();
    return book.take(token, std::time(nullptr))->verdict;
  }
  // The line of the listing that begins so.
  std::string row(const std::string& begin) {
    const std::size_t at = out_.find("\n" + begin);
    return at == std::string::npos ? "" : out_.substr(at + 1, out_.find('\n', at + 1) - at - 1);
  }
  std::optional<coord::RunDir> run_;
};

TEST_F(SharedRunTest, ARunOfOneHostHasNeitherTokensNorAnAuditLog) {
  for (const char* command : {"token", "audit"}) {
    EXPECT_EQ(instep({command, "r"}), 2);
    EXPECT_TRUE(says("was it started with `instep coordinator`?")) << errors_;
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
  }
  EXPECT_EQ(instep({"token", "r", "--make"}), 2);
  EXPECT_FALSE(fs::exists("r/tokens.json"));
}

TEST_F(SharedRunTest, TokensAreMadeListedAndRevoked) {
  open_to_hosts();
  EXPECT_EQ(instep({"token", "r"}), 0) << errors_;
  EXPECT_EQ(out_, "no tokens\n");

  const fabric::JoinLine once = make({"--uses", "1", "--ttl", "1d"});
  EXPECT_EQ(once.host, "node7");
  EXPECT_EQ(once.port, 4600);
  EXPECT_EQ(once.authority, std::string(64, 'a'));
  EXPECT_EQ(take(once.token), fabric::TokenVerdict::kGranted);
  EXPECT_EQ(take(once.token), fabric::TokenVerdict::kUsedUp);
  const fabric::JoinLine always = make({});
  const std::string id = always.token.substr(0, 6);

  EXPECT_EQ(instep({"token", "r"}), 0) << errors_;
  EXPECT_TRUE(row(once.token.substr(0, 6)).ends_with(" 0           1     used up")) << out_;
  EXPECT_TRUE(row(id).ends_with(" the run's end         any number  0     valid")) << out_;
  EXPECT_EQ(out_.find(once.token), std::string::npos);  // of no token its secret

  // A whole token names itself too; its secret is not said again.
  EXPECT_EQ(instep({"token", "r", "--revoke", always.token}), 0) << errors_;
  EXPECT_TRUE(shows("revoked " + id + ";")) << out_;
  EXPECT_EQ(take(always.token), fabric::TokenVerdict::kRevoked);
  EXPECT_EQ(instep({"token", "r"}), 0);
  EXPECT_TRUE(row(id).ends_with(" revoked")) << out_;
  EXPECT_EQ(instep({"token", "r", "--revoke", "zzzzzz"}), 2);
  EXPECT_TRUE(says("no join token zzzzzz")) << errors_;

  EXPECT_EQ(instep({"audit", "r"}), 0) << errors_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 4)
      << out_;  // a heading, two made, one revoked
  EXPECT_TRUE(shows(id + " was made")) << out_;
  EXPECT_TRUE(shows(id + " was revoked")) << out_;
}

TEST_F(SharedRunTest, ARunThatIsOverLetsNobodyIn) {
  open_to_hosts();
  const std::string id = make({}).token.substr(0, 6);
  run_.reset();
  EXPECT_EQ(instep({"token", "r", "--make"}), 2);
  EXPECT_TRUE(says("is over")) << errors_;
  EXPECT_TRUE(out_.empty()) << out_;
  EXPECT_EQ(instep({"token", "r"}), 0) << errors_;
  EXPECT_FALSE(row(id).empty()) << out_;
  EXPECT_TRUE(shows("the run is over")) << out_;
}

TEST_F(SharedRunTest, WhoCameIsShownWithoutWhatTheyWouldDoToATerminal) {
  {
    auto audit = coord::Audit::open(run_->path()).take();
    EXPECT_EQ(instep({"audit", "r"}), 0) << errors_;
    EXPECT_EQ(out_, "no events\n");
    ASSERT_TRUE(audit.add({"", "joined", 3, "node3", "10.0.0.3:5000", ""}, 1).ok());
    const coord::AuditEvent evil{"", "refused", {}, "\x1b[2Jevil\n\xff", "10.0.0.9:1", "bad token"};
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(audit.add(evil, 2).ok());
    ASSERT_TRUE(audit.add({"", "left", 3, "node3", "", "done"}, 3).ok());
  }
  EXPECT_EQ(instep({"audit", "r"}), 0) << errors_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 5) << out_;
  EXPECT_EQ(out_.find('\x1b'), std::string::npos);
  EXPECT_TRUE(shows("refused  x2 ")) << out_;
  EXPECT_TRUE(shows("?[2Jevil?")) << out_;
  EXPECT_TRUE(shows("bad token")) << out_;
  EXPECT_EQ(instep({"audit", "r", "--json"}), 0) << errors_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 4) << out_;
  EXPECT_TRUE(shows(R"("host":3)")) << out_;
  EXPECT_TRUE(shows(R"(\u001b[2Jevil\n\ufffd)")) << out_;
}

}  // namespace
}  // namespace instep::cli
