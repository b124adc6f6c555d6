// What peers compress, over a real link: from host 1 to host 0.
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "coord/host_frames.h"
#include "coord/peers.h"
#include "fabric/testing_links.h"

namespace instep::coord {
namespace {

using fabric::Compression;
using round::RelayFrame;

constexpr std::size_t kValues = 1 << 16;

// Its handler, for the test's thread.
class Hears : public Peers::Handler {
 public:
  struct Came {
    RelayFrame frame;
    std::vector<std::byte> payload;
  };
  Came wait_for_frame() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(fabric::kTestMs),
                                  [this] { return came_.has_value(); }));
    return std::exchange(came_, std::nullopt).value_or(Came{});
  }
  void wait_for_up() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(fabric::kTestMs),
                                  [this] { return up_; }));
  }
  std::string wait_for_down() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(fabric::kTestMs),
                                  [this] { return down_.has_value(); }));
    return down_.value_or("");
  }
  std::optional<std::uint32_t> refused_bytes;  // of a frame, before there are links

 private:
  Result<std::span<std::byte>> place(std::uint32_t /*from*/, const RelayFrame& frame) override {
    if (frame.bytes == refused_bytes) return Error{ErrorKind::kCorrupt, "a frame of that size"};
    EXPECT_LE(frame.bytes, fabric::kMaxPayload);
    memory_.resize(frame.bytes);
    return std::span(memory_);
  }
  Status took(std::uint32_t /*from*/, const RelayFrame& frame) override {
    const std::lock_guard lock(mutex_);
    came_ = {frame, memory_};
    changed_.notify_all();
    return {};
  }
  void peer_is_up(std::uint32_t /*peer*/) override {
    const std::lock_guard lock(mutex_);
    up_ = true;
    changed_.notify_all();
  }
  void peer_is_down(std::uint32_t /*peer*/, const Error& why) override {
    const std::lock_guard lock(mutex_);
    if (!down_) down_ = why.message;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Came> came_;
  bool up_ = false;
  std::optional<std::string> down_;
  std::vector<std::byte> memory_;
};

class PeersCompression : public ::testing::Test {
 protected:
  PeersCompression() {
    loop_.start();
    fabric::in(loop_, [this] {
      receiving_.emplace(loop_, authority_.issue(host_name(0)).take(), 0, Compression::kNever,
                         hears_);
      listener_ = fabric::TlsListener::start(loop_, {"127.0.0.1", 0},
                                             authority_.issue(host_name(0)).take(), {},
                                             [this](const std::shared_ptr<fabric::TlsLink>& link) {
                                               link->start(&hello_);
                                               receiving_->take(1, link);
                                             })
                      .take();
      return 0;
    });
    hello_.peers = &receiving_;
  }
  ~PeersCompression() override {
    fabric::in(loop_, [this] {
      stranger_.reset();
      sending_.reset();
      receiving_.reset();
      listener_.reset();
      return 0;
    });
  }

  void send_by(Compression compression) {
    fabric::in(loop_, [&] {
      sending_.emplace(loop_, authority_.issue(host_name(1)).take(), 1, compression, other_);
      sending_->know(0, {"127.0.0.1", listener_->port()});
      return 0;
    });
    other_.wait_for_up();
  }
  Peers::Given send(const RelayFrame& frame, std::span<const std::byte> payload) {
    return fabric::in(loop_, [&] {
      sending_->send(0, frame, payload, nullptr);
      return sending_->take_given();
    });
  }
  // Host 1, as whoever has its certificate.
  void send_raw(const fabric::FrameHead& head, const std::vector<std::byte>& payload) {
    std::promise<void> up;
    fabric::connect(loop_, {"127.0.0.1", listener_->port()}, authority_.issue(host_name(1)).take(),
                    {}, [&](auto link) {
                      stranger_ = link.take();
                      stranger_->start(&recorder_);
                      stranger_->send(head, payload);
                      up.set_value();
                    });
    up.get_future().wait();
  }

  // As gradients are spread.
  static std::vector<float> normal() {
    Random random(1);
    std::vector<float> out(kValues);
    for (float& it : out) it = static_cast<float>(random.normal() * 1e-3);
    return out;
  }

  // The greeting of peers is of no relay; the rest is theirs.
  struct Hello : fabric::TlsLink::Sink {
    Result<std::span<std::byte>> place(fabric::TlsLink& link,
                                       const fabric::FrameHead& head) override {
      if (is_relay_frame(head)) return (*peers)->place(link, head);
      greeting.resize(head.size);
      return std::span(greeting);
    }
    Status took(fabric::TlsLink& link, const fabric::FrameHead& head) override {
      return is_relay_frame(head) ? (*peers)->took(link, head) : Status();
    }
    void closed(fabric::TlsLink& link, const Error& why) override { (*peers)->closed(link, why); }
    std::optional<Peers>* peers = nullptr;
    std::vector<std::byte> greeting;
  };

  const fabric::Authority authority_ = fabric::Authority::make("test").take();
  Hears hears_, other_;
  Hello hello_;
  fabric::Recorder recorder_;
  std::optional<Peers> receiving_, sending_;
  std::shared_ptr<fabric::TlsLink> stranger_;
  std::unique_ptr<fabric::TlsListener> listener_;
  fabric::Loop loop_;
};

constexpr auto kSums = RelayFrame::Kind::kSums;

TEST_F(PeersCompression, ChangesNoBitAndSendsFewerBytes) {
  send_by(Compression::kAlways);
  const std::vector<float> values = normal();
  const auto bytes = std::as_bytes(std::span(values));
  const auto size = static_cast<std::uint32_t>(bytes.size());
  const Peers::Given given = send({kSums, size, 3, 4, 5, 6, sizeof(float)}, bytes);
  EXPECT_EQ(given.values, size);
  EXPECT_LT(given.sent, size * 9ULL / 10);
  const Hears::Came came = hears_.wait_for_frame();
  EXPECT_EQ(came.frame.kind, kSums);
  EXPECT_EQ(came.frame.bytes, size);
  EXPECT_EQ(came.frame.lineup, 3U);
  EXPECT_EQ(came.frame.index, 4U);
  EXPECT_EQ(came.frame.round, 5U);
  EXPECT_EQ(came.frame.at, 6U);
  EXPECT_TRUE(std::equal(came.payload.begin(), came.payload.end(), bytes.begin(), bytes.end()));
}

TEST_F(PeersCompression, LeavesWhatIsNoValues) {
  send_by(Compression::kAlways);
  const std::vector<float> values = normal();
  const auto bytes = std::as_bytes(std::span(values));
  const auto size = static_cast<std::uint32_t>(bytes.size());
  EXPECT_EQ(send({RelayFrame::Kind::kHead, size, 3, 0, 5, 0}, bytes).values, 0U);
  EXPECT_EQ(hears_.wait_for_frame().frame.kind, RelayFrame::Kind::kHead);
}

TEST_F(PeersCompression, NeverMeansNever) {
  send_by(Compression::kNever);
  const std::vector<float> values = normal();
  const auto bytes = std::as_bytes(std::span(values));
  const auto size = static_cast<std::uint32_t>(bytes.size());
  EXPECT_EQ(send({kSums, size, 3, 4, 5, 6, sizeof(float)}, bytes).sent, size);
  EXPECT_EQ(hears_.wait_for_frame().payload.size(), size);
}

TEST_F(PeersCompression, WhatNobodyCompressedClosesTheLink) {
  const std::vector<std::byte> junk(100, std::byte{0xee});
  send_raw({static_cast<std::uint32_t>(kSums) | kCompressed, 0, 0, 0, 0}, junk);
  EXPECT_NE(hears_.wait_for_down().find("compressed"), std::string::npos);
}

TEST_F(PeersCompression, AnEmptyOneClosesTheLink) {
  send_raw({static_cast<std::uint32_t>(kSums) | kCompressed, 0, 0, 0, 0}, {});
  EXPECT_NE(hears_.wait_for_down().find("compressed"), std::string::npos);
}

// It is asked as for any other frame, by the size that the values have.
TEST_F(PeersCompression, TheReceiverRefusesASize) {
  hears_.refused_bytes = kValues * sizeof(float);
  send_by(Compression::kAlways);
  const std::vector<float> values = normal();
  const auto bytes = std::as_bytes(std::span(values));
  send({kSums, static_cast<std::uint32_t>(bytes.size()), 3, 4, 5, 6, sizeof(float)}, bytes);
  EXPECT_NE(hears_.wait_for_down().find("of that size"), std::string::npos);
}

}  // namespace
}  // namespace instep::coord
