#include "fabric/tls_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>

#include "base/machine.h"
#include "base/time.h"
#include "fabric/testing_links.h"

namespace instep::fabric {
namespace {

const Authority& authority() {
  static const Authority kMade = Authority::make("test").take();
  return kMade;
}
const Identity& server_identity() {
  static const Identity kMade = authority().issue("coordinator").take();
  return kMade;
}
const Identity& client_identity() {
  static const Identity kMade = authority().issue("host-2").take();
  return kMade;
}

TEST(TlsLink, FramesArriveInOrderBothWays) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  EXPECT_EQ(client.link->peer(), "coordinator");
  EXPECT_EQ(server.link(0).peer(), "host-2");
  EXPECT_EQ(client.link->address(), to_text(server.address()));
  client.send({1, 0, 10, 20, 30}, bytes_of("one"));
  client.send({2, 0, ~0ULL, 0, 1}, {});
  client.send({3, 0, 0, 0, 0}, bytes_of("three"));
  const auto frames = server.sink(0).wait_frames(3);
  EXPECT_EQ(frames[0].head, (FrameHead{1, 3, 10, 20, 30}));
  EXPECT_EQ(text_of(frames[0]), "one");
  EXPECT_EQ(frames[1].head, (FrameHead{2, 0, ~0ULL, 0, 1}));
  EXPECT_EQ(text_of(frames[2]), "three");
  in(server.loop, [&] { return server.link(0).send({7, 0, 1, 2, 3}, bytes_of("back")), 0; });
  EXPECT_EQ(text_of(client.sink.wait_frames(1)[0]), "back");
}

// Frame k of a stream: 256 KiB, but for odd ends that move all that follows off the records' edges.
std::vector<std::byte> stream_frame(std::uint64_t k) {
  std::vector<std::byte> out((256 << 10) + (k % 7));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::byte(k * 31 + (i >> 6));
  return out;
}

// A sink that compares as it goes and answers each frame with one.
class Mirror : public TlsLink::Sink {
 public:
  explicit Mirror(std::uint64_t count) : count_(count) {}
  Result<std::span<std::byte>> place(TlsLink&, const FrameHead& head) override {
    buffer_.resize(head.size);
    return std::span(buffer_);
  }
  Status took(TlsLink&, const FrameHead& head) override {
    if (head.a != next_ || buffer_ != stream_frame(next_)) return invalid("another frame");
    if (++next_ == count_) done.set_value({});
    return {};
  }
  void closed(TlsLink&, const Error& why) override {
    if (next_ < count_) done.set_value(why);
  }

  std::promise<Status> done;

 private:
  std::uint64_t count_, next_ = 0;
  std::vector<std::byte> buffer_;
};

TEST(TlsLink, AHundredMegabytesBothWaysAtOnceAreWhatWasSent) {
  constexpr std::uint64_t kFrames = 400;
  ListenOptions listen;
  listen.limits.change_key_bytes = 10 << 20;  // so that keys change meanwhile
  ConnectOptions options;
  options.limits = listen.limits;
  Mirror at_server(kFrames), at_client(kFrames);
  Loop server_loop, client_loop;
  std::shared_ptr<TlsLink> server_link, client_link;
  std::vector<std::vector<std::byte>> frames;
  for (std::uint64_t k = 0; k < kFrames; ++k) frames.push_back(stream_frame(k));
  std::atomic<std::uint64_t> sent = 0;
  const auto send_all = [&](TlsLink& link) {
    for (std::uint64_t k = 0; k < kFrames; ++k) {
      link.send({1, 0, k, 0, 0}, frames[k], [&sent] { ++sent; });
    }
  };
  auto listener = TlsListener::start(server_loop, {"127.0.0.1", 0}, server_identity(), listen,
                                     [&](std::shared_ptr<TlsLink> link) {
                                       server_link = std::move(link);
                                       server_link->start(&at_server);
                                       send_all(*server_link);
                                     })
                      .take();
  connect(client_loop, {"127.0.0.1", listener->port()}, client_identity(), options,
          [&](Result<std::shared_ptr<TlsLink>> result) {
            ASSERT_TRUE(result.ok()) << result.error().message;
            client_link = result.take();
            client_link->start(&at_client);
            send_all(*client_link);
          });
  server_loop.start();
  client_loop.start();
  const Status there = at_server.done.get_future().get();
  const Status back = at_client.done.get_future().get();
  EXPECT_TRUE(there.ok()) << there.error().message;
  EXPECT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(sent, 2 * kFrames);
  client_loop.stop();
  server_loop.stop();
  client_loop.join();
  server_loop.join();
}

TEST(TlsLink, ItsFlowIsKnownAsLongAsItLives) {
  constexpr std::size_t kBytes = 3 << 20;
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  const auto flow = [&client] { return in(client.loop, [&] { return client.link->flow(); }); };
  ASSERT_TRUE(flow());
  // What is given to the link at once waits in it.
  const auto given = in(client.loop, [&client] {
    client.link->send({1, 0, 0, 0, 0}, std::vector<std::byte>(kBytes));
    return client.link->flow();
  });
  EXPECT_GE(given->waiting_bytes, kBytes);
  server.sink(0).wait_frames(1);
  // The last answer may be on its way still.
  const std::int64_t until = monotonic_ns() + kTestMs * kMillisecond;
  while (flow()->acked_bytes < kBytes && monotonic_ns() < until) {
  }
  const LinkFlow now = *flow();
  EXPECT_GE(now.acked_bytes, kBytes);
  EXPECT_LT(now.acked_bytes, kBytes + kBytes / 10);
  EXPECT_EQ(now.waiting_bytes, 0U);
  EXPECT_GT(now.busy_us, 0U);
  EXPECT_LE(now.held_us, now.busy_us);
  EXPECT_GT(now.least_round_trip_us, 0U);
  EXPECT_GE(now.round_trip_us, now.least_round_trip_us);
  in(client.loop, [&client] {
    client.link->close();
    return 0;
  });
  EXPECT_FALSE(flow());
}

// An agent that inherited its launcher's links would keep them alive after it.
TEST(TlsLink, NoProgramInheritsASocket) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  (void)server.link(0);
  int sockets = 0;
  for (int fd = 3; fd < 256; ++fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
    ++sockets;
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd;
  }
  EXPECT_GE(sockets, 3);
}

TEST(TlsLink, WhatASinkRefusesEndsTheLinkForBoth) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  server.sink(0).refuse_kind = 5;
  client.send({5, 0, 0, 0, 0}, bytes_of("x"));
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kInvalid);
  EXPECT_EQ(client.sink.wait_closed().kind, ErrorKind::kUnavailable);
}

TEST(TlsLink, ALinkThatIsLetGoOfEndsForTheOther) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  Recorder& sink = server.sink(0);
  client.drop();
  EXPECT_EQ(sink.wait_closed().kind, ErrorKind::kUnavailable);
  EXPECT_FALSE(client.sink.is_closed());  // who closes is not told
}

// After close() the memory is its owner's again: nothing that is written there afterwards is sent.
TEST(TlsLink, CloseIsAFence) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  constexpr std::size_t kFrames = 64;
  std::vector<std::byte> memory(kMaxPayload, std::byte(1));
  std::size_t sent = 0, sent_at_close = 0;
  in(client.loop, [&] {
    for (std::size_t i = 0; i < kFrames; ++i) {
      client.link->send({1, 0, i, 0, 0}, memory, [&sent] { ++sent; });
    }
    return 0;
  });
  const auto some = server.sink(0).wait_frames(1);
  in(client.loop, [&] {
    client.link->close();
    sent_at_close = sent;
    std::fill(memory.begin(), memory.end(), std::byte(2));
    client.link->send({1, 0, 0, 0, 0}, memory, [&sent] { ++sent; });
    return 0;
  });
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kUnavailable);
  in(client.loop, [] { return 0; });
  EXPECT_EQ(sent, sent_at_close);
  for (const Frame& frame : server.sink(0).wait_frames(1)) {
    EXPECT_EQ(frame.payload, std::vector<std::byte>(kMaxPayload, std::byte(1)));
  }
  EXPECT_FALSE(client.sink.is_closed());
}

TEST(TlsLink, ASinkMayCloseItsLinkInTheMidstOfAFrame) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  server.sink(0).on_frame = [](TlsLink& link, const Frame&) { link.close(); };
  for (int i = 0; i < 3; ++i) client.send({1, 0, 0, 0, 0}, bytes_of("x"));
  EXPECT_EQ(client.sink.wait_closed().kind, ErrorKind::kUnavailable);
  EXPECT_EQ(server.sink(0).wait_frames(1).size(), 1U);
}

// A refusal was lost when the link was closed behind it: the other end had said more, and what is
// closed with something unread takes back what it sent.
TEST(TlsLink, ALastWordArrivesThoughTheOtherEndStillTalks) {
  Server server(server_identity());
  Client client;
  ASSERT_TRUE(client.connect(server.address(), client_identity()).ok());
  server.sink(0).on_frame = [](TlsLink& link, const Frame&) {
    link.send({9, 0, 0, 0, 0}, std::vector<std::byte>(1 << 20, std::byte(7)));
    link.finish();
    link.send({10, 0, 0, 0, 0}, bytes_of("behind the end"));
  };
  std::vector<std::byte> memory(kMaxPayload, std::byte(1));
  in(client.loop, [&] {
    for (int i = 0; i < 8; ++i) client.link->send({1, 0, 0, 0, 0}, memory, nullptr);
    return 0;
  });
  EXPECT_EQ(client.sink.wait_closed().kind, ErrorKind::kUnavailable);
  const auto frames = client.sink.wait_frames(1);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].head.kind, 9U);
  EXPECT_EQ(frames[0].payload.size(), 1U << 20);
}

TEST(TlsConnect, AListenerThatStartsLaterIsFound) {
  std::uint16_t port = 0;
  {
    Server server(server_identity());
    port = server.listener->port();
  }
  Client client;
  std::promise<Result<std::shared_ptr<TlsLink>>> done;
  connect(client.loop, {"127.0.0.1", port}, client_identity(), {},
          [&](Result<std::shared_ptr<TlsLink>> result) { done.set_value(std::move(result)); });
  Loop loop;
  std::shared_ptr<TlsLink> accepted;
  const auto listener =
      TlsListener::start(loop, {"127.0.0.1", port}, server_identity(), {},
                         [&](std::shared_ptr<TlsLink> link) { accepted = std::move(link); });
  ASSERT_TRUE(listener.ok()) << listener.error().message;
  loop.start();
  auto linked = done.get_future().get();
  EXPECT_TRUE(linked.ok()) << linked.error().message;
  in(client.loop, [&] { return linked = Error{}, 0; });
  loop.stop();
  loop.join();
}

TEST(TlsConnect, NobodyThereIsAnErrorWhenTheTimeIsUp) {
  std::uint16_t port = 0;
  {
    Server server(server_identity());
    port = server.listener->port();
  }
  Client client;
  ConnectOptions options;
  options.within_ms = 120;
  const Status linked = client.connect({"127.0.0.1", port}, client_identity(), options);
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kUnavailable);
  EXPECT_NE(linked.error().message.find("refused"), std::string::npos) << linked.error().message;
}

TEST(TlsConnect, ANameThatNobodyHasIsAnErrorAtOnce) {
  Client client;
  ConnectOptions options;
  options.within_ms = kTestMs;
  const Status linked = client.connect({"no..name", 1}, client_identity(), options);
  ASSERT_FALSE(linked.ok());
  EXPECT_EQ(linked.error().kind, ErrorKind::kInvalid);
  EXPECT_NE(linked.error().message.find("no..name"), std::string::npos);
}

// A loop that ended in the midst of connect() left it behind, and a sanitizer complained.
TEST(TlsConnect, ALoopMayEndMeanwhile) {
  bool called = false;
  {
    Loop loop;
    Server server(server_identity());
    connect(loop, server.address(), client_identity(), {}, [&](const auto&) { called = true; });
    connect(loop, {"127.0.0.1", 1}, client_identity(), {}, [&](const auto&) { called = true; });
    loop.post([&] { loop.stop(); });
    loop.start();
    loop.join();
  }
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace instep::fabric
