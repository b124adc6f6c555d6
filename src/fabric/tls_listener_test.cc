// What a listener and its links bear with: silence, noise, too much of everything.
#include "fabric/tls_listener.h"

#include "fabric/testing_links.h"
#include "fabric/testing_raw.h"

namespace instep::fabric {
namespace {

const Authority& authority() {
  static const Authority kMade = Authority::make("test").take();
  return kMade;
}
const Identity& coordinator() {
  static const Identity kMade = authority().issue("coordinator").take();
  return kMade;
}
const Identity& host() {
  static const Identity kMade = authority().issue("host-2").take();
  return kMade;
}

TEST(TlsListener, NoiseIsClosedAndKeepsNobodyOut) {
  Server server(coordinator());
  const Fd noise = raw_connection(server.listener->port());
  const std::string text = "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n";
  ASSERT_EQ(::send(noise.get(), text.data(), text.size(), 0), ssize_t(text.size()));
  EXPECT_TRUE(is_closed_by_peer(noise));
  Client client;
  EXPECT_TRUE(client.connect(server.address(), host()).ok());
  EXPECT_EQ(server.accepted(), 1U);
}

TEST(TlsListener, WhoSaysNothingIsClosedByItsBudget) {
  ListenOptions options;
  options.limits.handshake_ms = 20;
  Server server(coordinator(), options);
  EXPECT_TRUE(is_closed_by_peer(raw_connection(server.listener->port())));
}

TEST(TlsListener, HalfOpenConnectionsKeepNobodyOut) {
  ListenOptions options;
  options.most_unproved = 4;
  options.limits.handshake_ms = 1'000'000;  // so that only a newer one ends an old one
  Server server(coordinator(), options);
  std::vector<Fd> silent;
  for (int i = 0; i < 10; ++i) silent.push_back(raw_connection(server.listener->port()));
  Client client;
  ASSERT_TRUE(client.connect(server.address(), host()).ok());
  // Ten and the client came, and four may be unproved: the oldest seven made way.
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(is_closed_by_peer(silent[i])) << i;
  char byte = 0;
  EXPECT_EQ(::recv(silent[7].get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  // Who has proved itself counts no more.
  for (int i = 0; i < 4; ++i) silent.push_back(raw_connection(server.listener->port()));
  EXPECT_TRUE(is_closed_by_peer(silent[9]));
  client.send({1, 0, 0, 0, 0}, bytes_of("still here"));
  EXPECT_EQ(text_of(server.sink(0).wait_frames(1)[0]), "still here");
}

TEST(TlsListener, AStrangerWhoSaysNothingIsClosedByItsBudget) {
  ListenOptions options;
  options.allow_without_certificate = true;
  options.limits.first_frame_ms = 20;
  Server server(coordinator(), options);
  RawTls client(server.listener->port(), nullptr);
  ASSERT_TRUE(client.connect());
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kUnavailable);
  EXPECT_TRUE(is_closed_by_peer(client.socket()));
}

// Else who starts it late would wait for it for ever.
TEST(TlsListener, ALinkThatEndedBeforeItWasStartedSaysSo) {
  Loop loop;
  ListenOptions options;
  options.allow_without_certificate = true;
  options.most_unproved = 1;
  std::vector<std::shared_ptr<TlsLink>> links;
  std::promise<void> second_came;
  const auto listener = TlsListener::start(loop, {"127.0.0.1", 0}, coordinator(), options,
                                           [&](std::shared_ptr<TlsLink> link) {
                                             links.push_back(std::move(link));
                                             if (links.size() == 2) second_came.set_value();
                                           })
                            .take();
  loop.start();
  RawTls first(listener->port(), nullptr);
  EXPECT_TRUE(first.connect());
  RawTls second(listener->port(), nullptr);
  EXPECT_TRUE(second.connect());
  second_came.get_future().wait();
  Recorder evicted, closed;
  in(loop, [&] {
    links[0]->start(&evicted);
    links[1]->start(&closed);
    links[1]->close();
    return 0;
  });
  EXPECT_EQ(evicted.wait_closed().kind, ErrorKind::kUnavailable);
  EXPECT_FALSE(closed.is_closed());
  loop.stop();
  loop.join();
}

TEST(TlsListener, AStrangersFrameIsSmall) {
  ListenOptions options;
  options.allow_without_certificate = true;
  Server server(coordinator(), options);
  RawTls client(server.listener->port(), nullptr);
  ASSERT_TRUE(client.connect());
  client.write(encode({1, options.limits.first_frame_bytes + 1, 0, 0, 0}));
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kInvalid);
}

TEST(TlsListener, AFrameThatClaimsFourGigabytesEndsTheLink) {
  Server server(coordinator());
  RawTls client(server.listener->port(), &host());
  ASSERT_TRUE(client.connect());
  client.write(encode({1, ~0U, 0, 0, 0}));
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kInvalid);
  EXPECT_TRUE(is_closed_by_peer(client.socket()));
}

TEST(TlsListener, ALinkThatIsIdlePings) {
  ListenOptions options;
  options.limits.ping_ms = 2;
  Server server(coordinator(), options);
  RawTls client(server.listener->port(), &host());
  ASSERT_TRUE(client.connect());
  const auto pings = client.read(3 * kFrameHeadBytes);
  ASSERT_EQ(pings.size(), 3 * kFrameHeadBytes);
  for (const std::byte byte : pings) EXPECT_EQ(byte, std::byte(0));
}

TEST(TlsListener, ALinkThatHearsNothingEnds) {
  ListenOptions options;
  options.limits.ping_ms = 5;
  options.limits.silence_ms = 40;
  Server server(coordinator(), options);
  RawTls client(server.listener->port(), &host());
  ASSERT_TRUE(client.connect());
  EXPECT_EQ(server.sink(0).wait_closed().kind, ErrorKind::kUnavailable);
}

TEST(TlsListener, AnAddressThatIsTakenOrNotOursIsNamed) {
  Server server(coordinator());
  Loop loop;
  const auto taken = TlsListener::start(loop, server.address(), coordinator(), {}, nullptr);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().kind, ErrorKind::kTaken);
  EXPECT_NE(taken.error().message.find(to_text(server.address())), std::string::npos);
  // 203.0.113.0/24 is for documentation (RFC 5737).
  const auto foreign = TlsListener::start(loop, {"203.0.113.1", 0}, coordinator(), {}, nullptr);
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().kind, ErrorKind::kInvalid);
}

TEST(TlsListener, OneWhoseIdentityIsNoneIsAnError) {
  Loop loop;
  const auto made =
      TlsListener::start(loop, {"127.0.0.1", 0}, Identity{"x", "y", "z"}, {}, nullptr);
  EXPECT_FALSE(made.ok());
}

}  // namespace
}  // namespace instep::fabric
