// Links between hosts' relays in one process, which deliver when a test says so.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "round/relay.h"

namespace instep::round {

// Links in order, which deliver when the test says so.
class RelayNet {
 public:
  using Link = std::pair<std::uint32_t, std::uint32_t>;
  struct Sent {
    RelayFrame frame;
    std::span<const std::byte> payload;
  };
  struct Arriving {
    Sent sent;
    std::span<std::byte> to;
  };
  class Port : public Carrier {
   public:
    Port(RelayNet& net, std::uint32_t me) : net_(net), me_(me) {}
    void send(std::uint32_t to, const RelayFrame& frame,
              std::span<const std::byte> payload) override {
      EXPECT_EQ(frame.bytes, payload.size());
      net_.bytes += payload.size();
      net_.links[{me_, to}].push_back({frame, payload});
    }

   private:
    RelayNet& net_;
    const std::uint32_t me_;
  };

  // Links with something to deliver.
  std::vector<Link> full() const {
    std::vector<Link> out;
    for (const auto& [link, queue] : links) {
      if (!queue.empty() || arriving.contains(link)) out.push_back(link);
    }
    return out;
  }
  // A frame begins to arrive: it has its place.
  template <class Host>
  void depart(const Link& link, Host& to) {
    const Sent sent = links[link].front();
    links[link].pop_front();
    const auto place = to.place(link.first, sent.frame);
    ASSERT_TRUE(place.ok()) << place.error().message;
    ASSERT_EQ(place->size(), sent.payload.size());
    arriving[link] = {sent, *place};
  }
  // It is there.
  template <class Host>
  void arrive(const Link& link, Host& at) {
    const auto [sent, to] = arriving.at(link);
    if (!to.empty()) std::memcpy(to.data(), sent.payload.data(), sent.payload.size());
    arriving.erase(link);
    const Status took = at.took(link.first, sent.frame);
    ASSERT_TRUE(took.ok()) << took.error().message;
  }
  // What of a lost host is on its way never arrives, and nothing of others goes there.
  void lose(std::uint32_t id) {
    const auto its = [id](const auto& it) { return it.first.first == id || it.first.second == id; };
    std::erase_if(links, its);
    std::erase_if(arriving, its);
  }

  std::map<Link, std::deque<Sent>> links;
  std::map<Link, Arriving> arriving;
  std::uint64_t bytes = 0;  // of payload, sent so far
};

}  // namespace instep::round
