// Hosts' relays in one process, whose steps and deliveries come in a random order.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "round/relay.h"
#include "round/testing_relay_host.h"
#include "round/testing_relay_net.h"

namespace instep::round {

inline std::vector<RelayHost> line_up(const RelayJob& job, const std::vector<std::uint32_t>& ids,
                                      Random& random) {
  std::vector<RelayHost> hosts;
  for (const std::uint32_t id : ids) hosts.push_back({id, {}, {}});
  for (std::uint32_t shard = 0; shard < job.shards; ++shard) {
    const std::size_t k = shard < hosts.size()   ? shard
                          : random.below(4) == 0 ? random.below(hosts.size())
                                                 : shard * hosts.size() / job.shards;
    hosts[k].shards.push_back(shard);
  }
  const std::uint64_t blocks = job.elements / reduce::kBlockElements;
  std::uint64_t first = 0;
  for (std::size_t k = 0; k < hosts.size(); ++k) {
    const std::uint64_t count =
        k + 1 == hosts.size() ? blocks - first : random.below(blocks - first + 1);
    hosts[k].slice = {first * reduce::kBlockElements, count * reduce::kBlockElements};
    first += count;
  }
  return hosts;
}

class RelayCluster {
 public:
  RelayCluster(const RelayJob& job, std::uint32_t hosts, Random& random)
      : job_(job), random_(random) {
    for (std::uint32_t id = 0; id < hosts; ++id) {
      hosts_.emplace(id, std::make_unique<RelayNode>(job, id));
      ports_.emplace(id, std::make_unique<RelayNet::Port>(net_, id));
    }
  }

  void line(std::uint32_t number, const std::vector<std::uint32_t>& ids, std::uint64_t first_round,
            std::optional<std::uint32_t> donor) {
    line(number, line_up(job_, ids, random_), first_round, donor);
  }
  void line(std::uint32_t number, std::vector<RelayHost> hosts, std::uint64_t first_round,
            std::optional<std::uint32_t> donor) {
    for (auto& [id, relay] : relays_) past_.push_back(std::move(relay));
    relays_.clear();
    number_ = number;
    line_ = std::move(hosts);
    for (const auto& [id, shards, slice] : line_) {
      relays_[id] = std::make_unique<Relay>(RelaySetup{number, id, first_round, line_, donor},
                                            hosts_[id]->world(), *ports_[id]);
      mark(id);
    }
    for (auto& [id, relay] : relays_) relay->start();
  }

  // Until every host has `rounds` rounds, or so many moves are made.
  void run(std::uint64_t rounds, std::uint64_t moves = ~0ULL) {
    while (moves-- > 0 && !testing::Test::HasFatalFailure()) {
      bool all = true;
      for (auto& [id, relay] : relays_) all = all && relay->due() >= rounds && !relay->behind();
      if (all) return;
      move(rounds);
    }
  }

  void lose(std::uint32_t id) {
    net_.lose(id);
    past_.push_back(std::move(relays_.at(id)));
    relays_.erase(id);
  }

  RelayNode& host(std::uint32_t id) { return *hosts_[id]; }
  RelayNet& net() { return net_; }
  std::map<std::uint32_t, std::unique_ptr<Relay>>& relays() { return relays_; }
  std::uint64_t check = 5;
  // Blocks that were seen to stand before their round was whole, and those of them under a line-up
  // that makes the round again.
  std::uint64_t early = 0, kept = 0;
  // Chunks that a host has added up while some of its gradients were still computed.
  std::uint64_t ahead = 0;

 private:
  using Link = RelayNet::Link;
  static Range range_of(const RelayFrame& frame) { return {frame.at, frame.bytes / sizeof(float)}; }

  // What stands is not written again: what lies between tensors would become zero.
  void mark(std::uint32_t id) {
    const World& world = hosts_[id]->world();
    for (std::uint64_t round : {relays_[id]->due() - 1, relays_[id]->due()}) {
      if (world.whole(round) != nullptr) continue;
      for (std::uint64_t at = 0; at < job_.elements; at += reduce::kBlockElements) {
        if (!world.stand(round, {at, reduce::kBlockElements})) continue;
        ++kept;
        for (std::uint64_t i = at; i < at + reduce::kBlockElements; ++i) {
          if (std::any_of(job_.tensors.begin(), job_.tensors.end(), [i](const Range& tensor) {
                return tensor.begin <= i && i < tensor.end();
              })) {
            continue;
          }
          float& padding = world.sum(round, job_.targets.size() - 1)[i];
          padding = 4711;
          marks_[{id, round}].push_back(&padding);
        }
      }
    }
  }

  // What members may read now.
  void look(std::uint32_t id) {
    if (const auto done = relays_.at(id)->completed()) {
      expect_whole(job_, *hosts_[id], *done);
      for (const float* mark : marks_[{id, *done}]) ASSERT_EQ(*mark, 4711) << "host " << id;
      marks_.erase({id, *done});
    }
    const std::uint64_t round = relays_.at(id)->due();
    const World& world = hosts_[id]->world();
    for (std::uint64_t block = 0; block < job_.elements / reduce::kBlockElements; ++block) {
      if (!world.stand(round, {block * reduce::kBlockElements, reduce::kBlockElements})) continue;
      if (!seen_.insert({id, round, block}).second) continue;
      ++early;
      expect_block(job_, *hosts_[id], round, block, random_);
    }
    if (const Whole* known = world.known(round)) {
      for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
        ASSERT_EQ(known->rows[shard].drawn, mix(round, shard));
      }
    }
  }

  void move(std::uint64_t rounds) {
    auto it = relays_.begin();
    std::advance(it, random_.below(relays_.size()));
    auto& [id, relay] = *it;
    switch (random_.below(3)) {
      case 0:
        if (relay->due() < rounds && !relay->behind() && !has_begun(id)) publish(id);
        break;
      case 1:
        if (relay->step() && !has_begun(id)) ++ahead;
        break;
      default:
        deliver();
    }
    look(id);
  }

  bool has_begun(std::uint32_t id) { return begun_[id] == relays_.at(id)->due() + 1 + epoch(); }

  // A host's members have something of the round, or all of it. Meanwhile one may have died, and
  // its part is another's.
  void publish(std::uint32_t id) {
    Relay& relay = *relays_.at(id);
    RelayNode& host = *hosts_[id];
    const auto& mine = std::find_if(line_.begin(), line_.end(), [id](const auto& h) {
                         return h.id == id;
                       })->shards;
    const std::uint64_t what = random_.below(8);
    if (what == 0) {
      relay.close();
      host.forget_parts();
    } else if (what < 5) {
      ASSERT_TRUE(relay.open(relay.due(), host.open_parts(relay.due(), mine, random_)).ok());
    } else {
      begun_[id] = relay.due() + 1 + epoch();
      ASSERT_TRUE(relay.begin(relay.due(), host.parts(relay.due(), mine, random_), check).ok());
    }
  }

  void deliver() {
    const std::vector<Link> full = net_.full();
    if (full.empty()) return;
    const Link link = full[random_.below(full.size())];
    const auto found = net_.arriving.find(link);
    if (found == net_.arriving.end()) return net_.depart(link, *relays_.at(link.second));
    // A link may be much slower than the others: what came under the line-up before ends late.
    const bool old = found->second.sent.frame.lineup < number_;
    if (!old || full.size() == 1 || random_.below(64) == 0) arrive(link);
  }

  // A frame is there, by now under another line-up, perhaps.
  void arrive(const Link& link) {
    const auto& [sent, to] = net_.arriving.at(link);
    const World& world = hosts_[link.second]->world();
    const auto* floats = reinterpret_cast<const float*>(to.data());
    for (std::size_t target = 0; target < job_.targets.size(); ++target) {
      const float* sums = world.sum(sent.frame.round, target);
      if (to.empty() || floats < sums || floats >= sums + job_.elements) continue;
      ASSERT_TRUE(world.open(sent.frame.round, range_of(sent.frame)))
          << "what members may read is written";
    }
    net_.arrive(link, *relays_.at(link.second));
    look(link.second);
  }

  // Rounds begun under an earlier line-up are begun again.
  std::uint64_t epoch() const { return 1000 * lines; }

 public:
  std::uint64_t lines = 0;

 private:
  const RelayJob& job_;
  Random& random_;
  RelayNet net_;
  std::map<std::uint32_t, std::unique_ptr<RelayNode>> hosts_;
  std::map<std::uint32_t, std::unique_ptr<RelayNet::Port>> ports_;
  std::uint32_t number_ = 0;
  std::vector<RelayHost> line_;
  std::map<std::uint32_t, std::unique_ptr<Relay>> relays_;
  std::vector<std::unique_ptr<Relay>> past_;  // what they sent may still be on its way
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<const float*>> marks_;
  std::set<std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>> seen_;
  std::map<std::uint32_t, std::uint64_t> begun_;
};

inline std::vector<std::uint32_t> up_to(std::uint32_t count) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t id = 0; id < count; ++id) out.push_back(id);
  return out;
}

}  // namespace instep::round
