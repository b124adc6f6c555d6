#include "coord/peers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>

#include "coord/host_frames.h"
#include "fabric/testing_links.h"

namespace instep::coord {
namespace {

using round::RelayFrame;

constexpr std::uint32_t kFrameBytes = 256 << 10;
constexpr std::uint64_t kFrames = 160;  // more than sockets hold that nobody reads

const fabric::Authority& authority() {
  static const fabric::Authority kMade = fabric::Authority::make("test").take();
  return kMade;
}

// Another host: counts what comes, and reads no further before it is let().
class Other : private fabric::TlsLink::Sink {
 public:
  Other(std::uint32_t host, bool waits) : waits_(waits) {
    loop_.start();
    fabric::in(loop_, [this, host] {
      listener_ = fabric::TlsListener::start(loop_, {"127.0.0.1", 0},
                                             authority().issue(host_name(host)).take(), {},
                                             [this](std::shared_ptr<fabric::TlsLink> link) {
                                               link_ = std::move(link);
                                               link_->start(this);
                                             })
                      .take();
      return 0;
    });
  }
  ~Other() override {
    fabric::in(loop_, [this] {
      link_.reset();
      listener_.reset();
      return 0;
    });
  }
  fabric::Address address() const { return {"127.0.0.1", listener_->port()}; }
  void let() { let_.set_value(); }
  // Of each frame, once the one of that round is there.
  std::vector<std::uint64_t> rounds_up_to(std::uint64_t last) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(fabric::kTestMs),
                                  [&] { return !rounds_.empty() && rounds_.back() == last; }));
    return rounds_;
  }

 private:
  Result<std::span<std::byte>> place(fabric::TlsLink& /*link*/,
                                     const fabric::FrameHead& head) override {
    buffer_.resize(head.size);
    return std::span(buffer_);
  }
  Status took(fabric::TlsLink& /*link*/, const fabric::FrameHead& head) override {
    if (!is_relay_frame(head)) {  // it greets
      if (waits_) let_.get_future().wait();
      return {};
    }
    const std::lock_guard lock(mutex_);
    rounds_.push_back(head.b);
    changed_.notify_all();
    return {};
  }
  void closed(fabric::TlsLink& /*link*/, const Error& /*why*/) override {}

  const bool waits_;
  std::promise<void> let_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> rounds_;  // guarded by mutex_
  std::vector<std::byte> buffer_;
  std::shared_ptr<fabric::TlsLink> link_;
  std::unique_ptr<fabric::TlsListener> listener_;
  fabric::Loop loop_;
};

// Host 2, which sends to hosts 0 and 1.
class Sending : public ::testing::Test, public Peers::Handler {
 protected:
  Sending() {
    loop_.start();
    fabric::in(loop_, [this] {
      peers_.emplace(loop_, authority().issue(host_name(2)).take(), 2, fabric::Compression::kNever,
                     *this);
      peers_->know(0, quick_.address());
      peers_->know(1, slow_.address());
      return 0;
    });
    up_.get_future().wait();
    fabric::in(loop_, [this] {
      for (std::uint64_t k = 0; k < kFrames; ++k) {
        send(0, k);
        send(1, k);
      }
      return 0;
    });
  }
  ~Sending() override {
    fabric::in(loop_, [this] {
      peers_.reset();
      return 0;
    });
  }
  void send(std::uint32_t to, std::uint64_t round) {
    const RelayFrame frame{RelayFrame::Kind::kSums, kFrameBytes, 0, 0, round, 0};
    peers_->send(to, frame, payload_, nullptr);
  }
  std::uint64_t waiting(std::uint32_t host) {
    return fabric::in(loop_, [&] { return peers_->waiting_bytes(host); });
  }
  // What is left for the slow one waits for a reason then.
  void wait_for_quick() { EXPECT_EQ(quick_.rounds_up_to(kFrames - 1).size(), kFrames); }

  fabric::Loop loop_;
  Other quick_{0, false}, slow_{1, true};
  std::optional<Peers> peers_;

 private:
  Result<std::span<std::byte>> place(std::uint32_t /*from*/, const RelayFrame& /*frame*/) override {
    return Error{ErrorKind::kCorrupt, "nothing is sent to it"};
  }
  Status took(std::uint32_t /*from*/, const RelayFrame& /*frame*/) override { return {}; }
  void peer_is_up(std::uint32_t /*peer*/) override {
    if (++ups_ == 2) up_.set_value();
  }
  void peer_is_down(std::uint32_t /*peer*/, const Error& /*why*/) override {}

  int ups_ = 0;
  std::promise<void> up_;
  const std::vector<std::byte> payload_ = std::vector<std::byte>(kFrameBytes);
};

TEST_F(Sending, ASlowHostHoldsUpNoOther) {
  wait_for_quick();
  EXPECT_GT(waiting(1), 0U);
  slow_.let();
  std::vector<std::uint64_t> all(kFrames);
  for (std::uint64_t k = 0; k < kFrames; ++k) all[k] = k;
  EXPECT_EQ(slow_.rounds_up_to(kFrames - 1), all);
  EXPECT_EQ(quick_.rounds_up_to(kFrames - 1), all);
}

TEST_F(Sending, WhatIsForgottenIsNotSent) {
  wait_for_quick();
  fabric::in(loop_, [this] {
    peers_->forget_waiting();
    send(0, kFrames);
    send(1, kFrames);
    return 0;
  });
  EXPECT_EQ(quick_.rounds_up_to(kFrames).size(), kFrames + 1);
  slow_.let();
  const auto came = slow_.rounds_up_to(kFrames);
  EXPECT_LT(came.size(), kFrames);
  for (std::uint64_t k = 0; k + 1 < came.size(); ++k) EXPECT_EQ(came[k], k);
}

TEST_F(Sending, NothingWaitsForWhoIsOut) {
  wait_for_quick();
  fabric::in(loop_, [this] {
    peers_->cut(1);
    return 0;
  });
  EXPECT_EQ(waiting(1), 0U);
  slow_.let();
}

}  // namespace
}  // namespace instep::coord
