#include "fabric/control_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace instep::fabric {
namespace {

struct Pair {
  Pair() : Pair(make_control_pair().take()) {}
  explicit Pair(std::pair<Fd, Fd> ends) : a(std::move(ends.first)), b(std::move(ends.second)) {}
  ControlLink a, b;
};

wire::Message progress(std::size_t bytes) {
  return wire::Progress{"note", std::string(bytes, 'x')};
}

ino_t inode(int fd) {
  struct stat info {};
  EXPECT_EQ(::fstat(fd, &info), 0);
  return info.st_ino;
}

TEST(ControlLink, DescriptorsBelongToTheirMessage) {
  Pair pair;
  const Fd first = make_memory_file("first", 10).take();
  const Fd second = make_memory_file("second", 20).take();
  ASSERT_TRUE(pair.a.send(wire::StopRequest{"1"}).ok());
  ASSERT_TRUE(pair.a.send(wire::StopRequest{"2"}, {first.get(), second.get()}).ok());
  ASSERT_TRUE(pair.a.send(wire::StopRequest{"3"}).ok());
  ASSERT_TRUE(pair.a.send(wire::StopRequest{"4"}, {second.get()}).ok());
  const std::array<std::vector<ino_t>, 4> expected = {
      std::vector<ino_t>{}, {inode(first.get()), inode(second.get())}, {}, {inode(second.get())}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    auto received = pair.b.receive().take();
    ASSERT_TRUE(received.has_value());
    EXPECT_EQ(std::get<wire::StopRequest>(received->message).reason, std::to_string(i + 1));
    std::vector<ino_t> inodes;
    for (const Fd& fd : received->descriptors) {
      inodes.push_back(inode(fd.get()));
      EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
    }
    EXPECT_EQ(inodes, expected[i]) << "message " << i + 1;
  }
}

TEST(ControlLink, AMessageLargerThanTheSocketsBufferArrivesWhole) {
  Pair pair;
  const std::size_t bytes = wire::kMaxFrameBytes - 100;
  std::thread sender([&] { EXPECT_TRUE(pair.a.send(progress(bytes)).ok()); });
  auto received = pair.b.receive().take();
  sender.join();
  ASSERT_TRUE(received.has_value());
  EXPECT_EQ(std::get<wire::Progress>(received->message).fields.size(), bytes);
}

TEST(ControlLink, RefusesToSendMoreThanTheLimit) {
  Pair pair;
  EXPECT_FALSE(pair.a.send(progress(wire::kMaxFrameBytes)).ok());
  ASSERT_TRUE(pair.a.send(progress(1)).ok());  // nothing of the refused one was sent
  EXPECT_TRUE(pair.b.receive().take().has_value());
}

TEST(ControlLink, ThePollerTakesWhatIsWholeAndNoMore) {
  Pair pair;
  EXPECT_FALSE(pair.b.poll()->message.has_value());
  const std::vector<std::byte> frame = wire::encode(wire::StopRequest{"late"});
  for (std::size_t i = 0; i < frame.size(); ++i) {
    auto polled = pair.b.poll();
    ASSERT_TRUE(polled.ok());
    EXPECT_FALSE(polled->message.has_value());
    EXPECT_FALSE(polled->ended);
    ASSERT_EQ(::send(pair.a.socket(), &frame[i], 1, 0), 1);
  }
  auto polled = pair.b.poll();
  ASSERT_TRUE(polled.ok() && polled->message.has_value());
  EXPECT_EQ(std::get<wire::StopRequest>(polled->message->message).reason, "late");
  pair.a.shut_down();
  EXPECT_TRUE(pair.b.poll()->ended);
}

TEST(ControlLink, AnEndBetweenMessagesIsNoErrorAndInsideOneIs) {
  {
    Pair pair;
    pair.a.shut_down();
    auto received = pair.b.receive();
    ASSERT_TRUE(received.ok());
    EXPECT_FALSE(received->has_value());
  }
  Pair pair;
  const std::vector<std::byte> frame = wire::encode(wire::StopRequest{"cut"});
  ASSERT_EQ(::send(pair.a.socket(), frame.data(), frame.size() - 1, 0), ssize_t(frame.size()) - 1);
  pair.a.shut_down();
  auto received = pair.b.receive();
  ASSERT_FALSE(received.ok());
  EXPECT_EQ(received.error().kind, ErrorKind::kUnavailable);
}

TEST(ControlLink, MalformedFramesAreErrors) {
  for (const auto& bytes : {std::array<unsigned char, 5>{1, 0, 0, 0, 0xff},
                            std::array<unsigned char, 5>{0xff, 0xff, 0xff, 0xff, 0}}) {
    Pair pair;
    ASSERT_EQ(::send(pair.a.socket(), bytes.data(), bytes.size(), 0), 5);
    auto received = pair.b.receive();
    ASSERT_FALSE(received.ok());
    EXPECT_EQ(received.error().kind, ErrorKind::kInvalid);
  }
}

TEST(ControlLink, SendingToNobodyIsAnErrorAndNoSignal) {
  auto ends = make_control_pair().take();
  ControlLink link(std::move(ends.first));
  ends.second.reset();
  const Status status = link.send(wire::StopRequest{"x"});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnavailable);
}

// A launcher that told a stopped agent something long hung with it.
TEST(ControlLink, AnEndThatDoesNotReadCannotHoldTheSenderForEver) {
  Pair pair;
  ASSERT_TRUE(pair.a.limit_sending(20).ok());
  const Status status = pair.a.send(progress(3 << 20));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnavailable);
}

TEST(ControlLink, ManyThreadsMaySend) {
  Pair pair;
  std::vector<std::thread> senders;
  for (int i = 0; i < 4; ++i) {
    senders.emplace_back([&pair] {
      for (int k = 0; k < 50; ++k) EXPECT_TRUE(pair.a.send(progress(5000)).ok());
    });
  }
  for (int k = 0; k < 200; ++k) {
    auto received = pair.b.receive();
    ASSERT_TRUE(received.ok() && received->has_value());
  }
  for (std::thread& sender : senders) sender.join();
}

}  // namespace
}  // namespace instep::fabric
