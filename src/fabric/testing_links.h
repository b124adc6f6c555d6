// For tests of links: a sink that records, and both ends of a link over loopback in one process.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fabric/tls_connect.h"
#include "fabric/tls_listener.h"

namespace instep::fabric {

// Any limit a test waits for; it is reached only by a test that fails.
constexpr std::int64_t kTestMs = 60'000;

struct Frame {
  FrameHead head;
  std::vector<std::byte> payload;
};

inline std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
inline std::string text_of(const Frame& frame) {
  return {reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size()};
}

// Keeps what comes; its waits are for other threads than the loop's.
class Recorder : public TlsLink::Sink {
 public:
  Result<std::span<std::byte>> place(TlsLink&, const FrameHead& head) override {
    if (head.kind == refuse_kind) return invalid("this kind is refused");
    placed_.resize(head.size);
    return std::span(placed_);
  }
  Status took(TlsLink& link, const FrameHead& head) override {
    const std::lock_guard lock(mutex_);
    frames_.push_back({head, std::exchange(placed_, {})});
    changed_.notify_all();
    if (on_frame) on_frame(link, frames_.back());
    return {};
  }
  void closed(TlsLink&, const Error& why) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(why_) << "closed() is called once";
    why_ = why;
    changed_.notify_all();
  }

  std::vector<Frame> wait_frames(std::size_t count) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::milliseconds(kTestMs), [&] {
      return frames_.size() >= count || why_.has_value();
    });
    EXPECT_TRUE(came && frames_.size() >= count)
        << frames_.size() << " frames came; " << (why_ ? why_->message : "the link lives");
    return frames_;
  }
  Error wait_closed() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(kTestMs),
                                  [&] { return why_.has_value(); }));
    return why_.value_or(Error{});
  }
  bool is_closed() {
    const std::lock_guard lock(mutex_);
    return why_.has_value();
  }

  std::uint32_t refuse_kind = 99;
  std::function<void(TlsLink&, const Frame&)> on_frame;

 private:
  std::vector<std::byte> placed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Frame> frames_;
  std::optional<Error> why_;
};

// Does it in the loop's thread and waits for it.
template <class Work>
auto in(Loop& loop, Work work) {
  std::packaged_task<decltype(work())()> task(std::move(work));
  auto done = task.get_future();
  loop.post([&task] { task(); });
  return done.get();
}

// A listener and what it accepted.
class Server {
 public:
  explicit Server(const Identity& identity, const ListenOptions& options = {}) {
    loop.start();
    auto started = TlsListener::start(loop, {"127.0.0.1", 0}, identity, options,
                                      [this](std::shared_ptr<TlsLink> link) {
                                        const std::lock_guard lock(mutex_);
                                        if (on_accept) on_accept(*link);
                                        link->start(&sinks_[links_.size()]);
                                        links_.push_back(std::move(link));
                                        changed_.notify_all();
                                      });
    EXPECT_TRUE(started.ok()) << started.error().message;
    listener = started.take();
  }
  ~Server() {
    in(loop, [this] {
      links_.clear();
      listener.reset();
      return 0;
    });
  }

  Address address() const { return {"127.0.0.1", listener->port()}; }
  TlsLink& link(std::size_t which) { return *wait(which).first; }
  Recorder& sink(std::size_t which) { return *wait(which).second; }
  std::size_t accepted() {
    const std::lock_guard lock(mutex_);
    return links_.size();
  }

  std::function<void(TlsLink&)> on_accept;
  Loop loop;
  std::unique_ptr<TlsListener> listener;

 private:
  std::pair<TlsLink*, Recorder*> wait(std::size_t which) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::milliseconds(kTestMs),
                                        [&] { return links_.size() > which; });
    INSTEP_CHECK(came, "a link was accepted");
    return {links_[which].get(), &sinks_[which]};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, Recorder> sinks_;  // by number: they stay where they are
  std::vector<std::shared_ptr<TlsLink>> links_;
};

// The other end, with a loop of its own.
class Client {
 public:
  Client() { loop.start(); }
  ~Client() { drop(); }

  Status connect(const Address& address, const Identity& identity,
                 const ConnectOptions& options = {}) {
    return connected([&](OnConnected done) {
      fabric::connect(loop, address, identity, options, std::move(done));
    });
  }
  Status connect_by_fingerprint(const Address& address, const std::string& fingerprint,
                                const ConnectOptions& options = {}) {
    return connected([&](OnConnected done) {
      fabric::connect_by_fingerprint(loop, address, fingerprint, options, std::move(done));
    });
  }
  void send(const FrameHead& head, std::vector<std::byte> payload) {
    in(loop, [&] {
      link->send(head, std::move(payload));
      return 0;
    });
  }
  void drop() {
    in(loop, [this] {
      link.reset();
      return 0;
    });
  }

  Loop loop;
  Recorder sink;
  std::shared_ptr<TlsLink> link;

 private:
  template <class Begin>
  Status connected(Begin begin) {
    std::promise<Status> done;
    begin([this, &done](Result<std::shared_ptr<TlsLink>> result) {
      if (result.ok()) {
        link = result.take();
        link->start(&sink);
        done.set_value({});
      } else {
        done.set_value(result.error());
      }
    });
    return done.get_future().get();
  }
};

}  // namespace instep::fabric
