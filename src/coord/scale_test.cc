#include "coord/scale.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <future>

#include "base/testing_folder.h"
#include "base/text.h"

namespace instep::coord {
namespace {
namespace fs = std::filesystem;

class FakeRun : public Steering {
 public:
  std::uint64_t round() const override { return 0; }
  std::vector<member::AgentId> agents() const override { return {}; }
  std::uint32_t wanted() const override { return wanted_agents; }
  bool signal(member::AgentId, int) override { return false; }
  Status scale(std::uint32_t agents) override {
    if (agents < 1 || agents > 16) return invalid(cat("-n ", agents, ": room for 1 to 16"));
    wanted_agents = agents;
    return {};
  }
  Status join() override { return {}; }
  Status leave(member::AgentId) override { return {}; }
  Status flip_bit(std::uint64_t) override { return {}; }

  std::uint32_t wanted_agents = 4;
};

class ScaleTest : public FolderTest {
 protected:
  void SetUp() override { listen(); }
  void listen() {
    server_.reset();
    auto server = ScaleServer::listen(run_dir_);
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_.emplace(server.take());
  }
  bool woken(int limit_ms = 60'000) const {
    pollfd polled{server_->descriptor(), POLLIN, 0};
    return ::poll(&polled, 1, limit_ms) == 1;
  }
  // Asks as the command does, while the run answers.
  Result<Scaled> ask(std::uint32_t agents) {
    auto asked = std::async(std::launch::async, [&] { return ask_scale(run_dir_, agents); });
    while (asked.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
      if (woken(10)) server_->serve(run_, 0);
    }
    return asked.get();
  }
  Fd connect() const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = (run_dir_ / "control.sock").string();
    std::memcpy(&address.sun_path[0], path.c_str(), path.size() + 1);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return socket;
  }
  static void say(const Fd& socket, const std::string& text) {
    EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Until the server has closed it.
  static std::string hear(const Fd& socket) {
    std::string all;
    std::array<char, 1024> buffer{};
    for (ssize_t got = 0; (got = ::read(socket.get(), buffer.data(), buffer.size())) > 0;) {
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  bool closed(const Fd& socket) const {
    pollfd polled{socket.get(), POLLIN, 0};
    return ::poll(&polled, 1, 0) == 1;
  }

  fs::path run_dir_ = folder_;
  std::optional<ScaleServer> server_;
  FakeRun run_;
};

TEST_F(ScaleTest, AsksAndIsAnswered) {
  for (const std::uint32_t agents : {6U, 2U}) {
    const std::uint32_t before = run_.wanted_agents;
    const auto scaled = ask(agents);
    ASSERT_TRUE(scaled.ok()) << scaled.error().message;
    EXPECT_EQ(scaled->from, before);
    EXPECT_EQ(scaled->to, agents);
    EXPECT_EQ(run_.wanted_agents, agents);
  }
}

TEST_F(ScaleTest, TheRunsRefusalReachesTheAsker) {
  for (const std::uint32_t agents : {0U, 17U}) {
    const auto scaled = ask(agents);
    ASSERT_FALSE(scaled.ok());
    EXPECT_EQ(scaled.error().kind, ErrorKind::kInvalid);
    EXPECT_NE(scaled.error().message.find("room for 1 to 16"), std::string::npos);
  }
  EXPECT_EQ(run_.wanted_agents, 4U);
}

TEST_F(ScaleTest, AQuestionComesInPieces) {
  const Fd client = connect();
  for (const char* piece : {"{\"sca", "le\":3", "}"}) {
    say(client, piece);
    ASSERT_TRUE(woken());
    EXPECT_FALSE(server_->next(0));
  }
  say(client, "\n");
  ASSERT_TRUE(woken());
  const auto request = server_->next(0);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->agents, 3U);
  EXPECT_FALSE(server_->next(ScaleServer::kPatienceNs * 9));  // it waits for us, not we for it
  server_->answer(*request, Scaled{1, 3});
  EXPECT_EQ(hear(client), "{\"from\":1,\"to\":3}\n");
}

TEST_F(ScaleTest, WhatIsNoQuestionIsRefused) {
  for (const std::string line :
       {"", "x", "{}", "[]", "7", "null", "{\"scale\":\"6\"}", "{\"scale\":-1}", "{\"scale\":65}",
        "{\"scale\":1.5}", "{\"scale\":6,\"more\":1}", "{\"scale\":6}{", "{\"scale\":6} \n{}",
        "\xff\xfe", "[[[[[[[[[[[[[[[[[["}) {
    const Fd client = connect();
    say(client, line + "\n");
    EXPECT_FALSE(server_->next(0)) << line;
    EXPECT_NE(hear(client).find("no question"), std::string::npos) << line;
  }
  EXPECT_FALSE(woken(0));
}

TEST_F(ScaleTest, ATalkerIsCutOff) {
  const Fd client = connect();
  say(client, std::string(ScaleServer::kMaxLine, '['));
  EXPECT_FALSE(server_->next(0));
  EXPECT_TRUE(closed(client));
}

TEST_F(ScaleTest, TheSilentAreCutOffAndHinderNobody) {
  const Fd silent = connect();
  EXPECT_FALSE(server_->next(5));
  const Fd half = connect();
  say(half, "{");
  EXPECT_FALSE(server_->next(7));
  EXPECT_FALSE(closed(silent));
  const Fd client = connect();
  say(client, "{\"scale\":5}\n");
  EXPECT_TRUE(server_->next(6 + ScaleServer::kPatienceNs));
  EXPECT_TRUE(closed(silent));
  EXPECT_FALSE(closed(half));
}

TEST_F(ScaleTest, ACrowdLeavesRoomForTheNext) {
  std::vector<Fd> crowd;
  for (std::size_t i = 0; i < ScaleServer::kMaxClients; ++i) {
    crowd.push_back(connect());
    EXPECT_FALSE(server_->next(0));
  }
  EXPECT_FALSE(closed(crowd.front()));
  const Fd client = connect();
  say(client, "{\"scale\":5}\n");
  EXPECT_TRUE(server_->next(0));
  EXPECT_TRUE(closed(crowd.front()));
  EXPECT_FALSE(closed(crowd.back()));
}

TEST_F(ScaleTest, AnAskerThatGoesIsForgotten) {
  std::optional<ScaleServer::Request> request;
  {
    const Fd client = connect();
    say(client, "{\"scale\":5}\n");
    request = server_->next(0);
    ASSERT_TRUE(request);
  }
  EXPECT_FALSE(server_->next(0));
  EXPECT_FALSE(woken(0));  // its end keeps nobody busy
  server_->answer(*request, Scaled{});
  server_->answer(*request, Scaled{});
  connect();
  ASSERT_TRUE(woken());
  EXPECT_FALSE(server_->next(0));
  EXPECT_FALSE(woken(0));
}

TEST_F(ScaleTest, TheSocketIsItsUsersAloneAndGoesWithTheServer) {
  struct stat info {};
  ASSERT_EQ(::stat((run_dir_ / "control.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  server_.reset();
  EXPECT_TRUE(fs::is_empty(run_dir_));
}

TEST_F(ScaleTest, ALauncherThatIsGoneIsSaid) {
  const auto message = [&] {
    const auto scaled = ask_scale(run_dir_, 2);
    return scaled.ok() ? "answered" : scaled.error().message;
  };
  // Killed: its socket is left behind, and the next launcher takes its place.
  fs::rename(run_dir_ / "control.sock", run_dir_ / "kept");
  server_.reset();
  EXPECT_NE(message().find("beginning or ending"), std::string::npos) << message();
  fs::rename(run_dir_ / "kept", run_dir_ / "control.sock");
  EXPECT_NE(message().find("was killed"), std::string::npos) << message();
  listen();
  EXPECT_TRUE(ask(3).ok());
  const auto unheard = ask_scale(run_dir_, 2, 1);
  ASSERT_FALSE(unheard.ok());
  EXPECT_EQ(unheard.error().kind, ErrorKind::kUnavailable);
}

// An address of a socket holds 107 bytes.
TEST_F(ScaleTest, RunsMayLieDeep) {
  run_dir_ = folder_ / std::string(100, 'a') / std::string(100, 'b');
  fs::create_directories(run_dir_);
  listen();
  EXPECT_TRUE(ask(7).ok());
}

}  // namespace
}  // namespace instep::coord
