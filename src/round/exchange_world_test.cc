// Rounds of several hosts in one process: each has members of its own that own all blocks, and a
// stand-in for the bridges adds up what all have published and shows it to every host: block by
// block in any order, between any two steps of its members, who change meanwhile and die. All come
// to what a single machine computes, bit for bit, and update every element once.
#include <gtest/gtest.h>

#include "fabric/arena.h"
#include "round/testing_host.h"

namespace instep::round {
namespace {

using fabric::Arena;

struct Sum {
  Node node;
  std::vector<const float*> tensors;  // null: absent
};

// Adds up what the parts inside a node have of one tensor; empty if all are absent.
std::vector<float> add_up(const Node& node, const std::vector<Sum>& parts, std::size_t tensor,
                          std::size_t count) {
  std::vector<Node> inside;
  std::vector<const float*> rows;
  for (const Sum& part : parts) {
    if (!reduce::contains(node, part.node)) continue;
    inside.push_back({part.node.first - node.first, part.node.count});
    rows.push_back(part.tensors[tensor]);
  }
  if (std::all_of(rows.begin(), rows.end(), [](const float* row) { return row == nullptr; })) {
    return {};
  }
  std::vector<float> out(count + 1);  // never empty
  reduce::Combiner(node.count, inside).run(rows.data(), out.data(), count, 1.0F, false);
  return out;
}

class Bridge {
 public:
  using Hosts = std::vector<std::unique_ptr<Host>>;
  Bridge(const Case& c, Hosts& hosts) : case_(c), hosts_(hosts), lines_(hosts.size()) {
    std::size_t bytes = kSumsAt + 16384;
    for (const std::uint64_t length : c.lengths) bytes += c.shards * (length + 32) * sizeof(float);
    for (const auto& host : hosts) host->world.resize(bytes);
  }

  // A host's members have begun anew, under this ticket.
  void follow(std::size_t host, fabric::Ticket ticket) { lines_[host].ticket = ticket; }
  // All that is published is read.
  bool summed() const { return !nodes_.empty(); }

  // Reads what a host's members have published, or shows it something of what all have.
  Status step(Random& random) {
    const std::size_t at = random.below(hosts_.size());
    Line& line = lines_[at];
    if (!line.read && published(at)) {
      line.read = true;
      INSTEP_RETURN_IF_ERROR(read(at));
    }
    if (std::any_of(lines_.begin(), lines_.end(), [](const Line& it) { return !it.read; })) {
      return {};
    }
    if (nodes_.empty()) sum(random);
    if (!std::exchange(line.laid_out, true)) lay_out(at);
    if (line.told < line.ticket && random.below(8) == 0) {
      tell(at, random);
    } else if (!line.coming.empty()) {
      bring(at, random);
    } else if (line.shown < line.ticket) {
      show(at);
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kStampsAt = 64, kSumsAt = 1024;  // in a host's memory
  struct Line {
    fabric::Ticket ticket = 1, told = 0, shown = 0;
    bool read = false, laid_out = false;
    std::vector<std::uint64_t> offsets;  // of the sums in the host's memory
    std::vector<std::uint64_t> coming;   // blocks whose sums are not shown
    std::uint64_t top = kSumsAt;
  };

  bool published(std::size_t at) const {
    Host& host = *hosts_[at];
    const auto& members = host.view().members;
    return std::all_of(members.begin(), members.end(), [&](AgentId agent) {
      const auto& words = host.words(static_cast<std::uint32_t>(agent));
      return words.published.load() >= lines_[at].ticket;
    });
  }

  Status read(std::size_t at) {
    Host& host = *hosts_[at];
    for (const AgentId agent : host.view().members) {
      const auto arena = host.arena(agent);
      INSTEP_ASSIGN_OR_RETURN(
          const auto part,
          find_part(host.words(static_cast<std::uint32_t>(agent)), arena, lines_[at].ticket));
      if (!part) return Error{ErrorKind::kCorrupt, "no part of this ticket"};
      if (at == 0 && agent == host.view().members.front()) directive_ = part->directive;
      rows_.insert(rows_.end(), part->rows.begin(), part->rows.end());
      for (std::size_t n = 0; n < part->nodes.size(); ++n) {
        Sum& sum = parts_.emplace_back();
        sum.node = part->nodes[n];
        for (std::size_t t = 0; t < case_.lengths.size(); ++t) {
          const std::uint64_t offset = part->offsets[n * case_.lengths.size() + t];
          sum.tensors.push_back(offset == Arena::kAbsent
                                    ? nullptr
                                    : reinterpret_cast<const float*>(arena.data() + offset));
        }
      }
    }
    return {};
  }

  // Up to the root or to the coding's nodes, and now and then not so far. With a codec that packs,
  // all of the way.
  void sum(Random& random) {
    if (case_.coding.packs()) {
      nodes_.push_back({0, case_.shards});
      for (std::size_t t = 0; t < case_.lengths.size(); ++t) {
        const bool carried = case_.carried && t + 1 == case_.lengths.size();
        sums_.push_back(add_up(nodes_.front(), parts_, t, case_.lengths[t]));
        if (!carried && !sums_.back().empty()) encode(t, sums_.back());
      }
      return;
    }
    const std::vector<Node> whole = {{0, case_.shards}};
    for (const Node& node : case_.coding.nodes.empty() ? whole : case_.coding.nodes) {
      cut(node, random);
    }
    for (const Node& node : nodes_) {
      for (std::size_t t = 0; t < case_.lengths.size(); ++t) {
        sums_.push_back(add_up(node, parts_, t, case_.lengths[t]));
      }
    }
  }

  void encode(std::size_t tensor, std::vector<float>& out) {
    std::vector<Node> nodes;
    for (const Sum& part : parts_) nodes.push_back(part.node);
    reduce::CodedCombiner combiner(case_.shards, nodes, case_.coding);
    const Range place = hosts_.front()->space().tensors()[tensor];
    std::vector<const float*> rows(parts_.size());
    for (std::uint64_t at = 0; at < place.count;) {
      const std::uint64_t left =
          reduce::kBlockElements - (place.begin + at) % reduce::kBlockElements;
      const std::uint64_t run = std::min(place.count - at, left);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const float* values = parts_[i].tensors[tensor];
        rows[i] = values == nullptr ? nullptr : values + at;
      }
      combiner.run(rows.data(), out.data() + at, run, total_factor(case_), nullptr);
      at += run;
    }
  }

  void cut(const Node& node, Random& random) {
    const std::uint32_t half = node.count > 1 ? reduce::left_count(node.count) : 0;
    const Node left{node.first, half};
    const Node right{node.first + half, node.count - half};
    const bool whole = half == 0 || random.below(4) > 0 ||
                       std::any_of(parts_.begin(), parts_.end(), [&](const Sum& part) {
                         return reduce::contains(node, part.node) &&
                                !reduce::contains(left, part.node) &&
                                !reduce::contains(right, part.node);
                       });
    if (whole) return nodes_.push_back(node);
    cut(left, random);
    cut(right, random);
  }

  // Where the sums will be; what is there before them is none.
  void lay_out(std::size_t at) {
    Host& host = *hosts_[at];
    Line& line = lines_[at];
    std::fill(host.world.begin() + kSumsAt, host.world.end(), std::byte{0xff});
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      line.offsets.push_back(sums_[i].empty() ? Arena::kAbsent : line.top);
      if (sums_[i].empty()) continue;
      line.top += (case_.lengths[i % case_.lengths.size()] * sizeof(float) + 63) / 64 * 64;
    }
    for (std::uint64_t block = 0; block < host.space().blocks(); ++block) {
      line.coming.push_back(block);
    }
    host.words(fabric::kWorld).arrived.store(kStampsAt);
  }

  // A block's sums, or half of one, which another line-up writes again.
  void bring(std::size_t at, Random& random) {
    Host& host = *hosts_[at];
    Line& line = lines_[at];
    const std::size_t pick = random.below(line.coming.size());
    const std::uint64_t block = line.coming[pick];
    const bool half = random.below(8) == 0;
    const std::uint64_t begin = block * reduce::kBlockElements;
    const std::uint64_t end = begin + reduce::kBlockElements / (half ? 2 : 1);
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const Range& place = host.space().tensors()[i % case_.lengths.size()];
      const std::uint64_t from = std::max(begin, place.begin);
      const std::uint64_t to = std::min(end, place.end());
      if (sums_[i].empty() || from >= to) continue;
      std::memcpy(host.world.data() + line.offsets[i] + (from - place.begin) * sizeof(float),
                  sums_[i].data() + (from - place.begin), (to - from) * sizeof(float));
    }
    if (half) return;
    line.coming.erase(line.coming.begin() + static_cast<std::ptrdiff_t>(pick));
    auto* stamps = reinterpret_cast<Stamp*>(host.world.data() + kStampsAt);
    stamps[(kRound & 1) * host.space().blocks() + block].store(stamp_of(kRound));
    host.words(fabric::kWorld).arrivals.fetch_add(1);
  }

  // Of what is asked for nothing counts but what stands in the round when it is whole.
  void tell(std::size_t at, Random& random) {
    Line& line = lines_[at];
    mail(at, random.below(2) == 0 ? Directive::kNone : Directive::kStop);
    hosts_[at]->words(fabric::kWorld).told.store(line.ticket);
    line.told = line.ticket;
  }

  void show(std::size_t at) {
    Line& line = lines_[at];
    mail(at, directive_);
    fabric::AgentWords& words = hosts_[at]->words(fabric::kWorld);
    words.told.store(line.ticket);
    words.published.store(line.ticket);
    line.told = line.shown = line.ticket;
  }

  void mail(std::size_t at, Directive directive) {
    Host& host = *hosts_[at];
    Line& line = lines_[at];
    const Part part{line.ticket, kRound, directive, rows_, nodes_, line.offsets, {}};
    write_part(part, host.world.data() + line.top);
    host.words(fabric::kWorld).mail[kRound & 1].store(line.top);
    line.top += part_bytes(part);
  }

  const Case& case_;
  Hosts& hosts_;
  std::vector<Line> lines_;  // [hosts]
  std::vector<Sum> parts_;   // as read
  std::vector<ShardRow> rows_;
  Directive directive_ = Directive::kNone;
  std::vector<Node> nodes_;
  std::vector<std::vector<float>> sums_;  // [nodes][tensors]
};

// Which host computes which shard: runs of them, or anything.
std::vector<std::vector<bool>> spread(const Case& c, std::size_t hosts, Random& random) {
  std::vector<std::vector<bool>> out(hosts, std::vector<bool>(c.shards));
  const bool runs = random.below(2) == 0;
  for (std::uint32_t shard = 0; shard < c.shards; ++shard) {
    out[runs ? shard * hosts / c.shards : random.below(hosts)][shard] = true;
  }
  return out;
}

void check_case(std::uint64_t seed) {
  Random random(seed);
  Case c = make_case(random);
  if (random.below(16) == 0) c.rows[random.below(c.shards)].loss = std::nan("");
  const auto mine = spread(c, 1 + random.below(3), random);
  std::vector<std::unique_ptr<Host>> hosts;
  for (std::size_t h = 0; h < mine.size(); ++h) {
    const auto agents = 1 + static_cast<std::uint32_t>(random.below(4));
    hosts.push_back(std::make_unique<Host>(c, agents, random.below(2) * seed, &mine[h], seed + h));
  }
  Bridge bridge(c, hosts);
  std::vector<fabric::Ticket> tickets(hosts.size(), 1);
  std::vector<bool> done(hosts.size());
  for (const auto& host : hosts) host->begin();
  while (std::count(done.begin(), done.end(), false) > 0) {
    const Status status = bridge.step(random);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.error().message;
    const std::size_t h = random.below(hosts.size());
    // Its members change: they begin again, and the bridge shows the same under a later ticket.
    if (tickets[h] < 3 && random.below(32) == 0 && !hosts[h]->someone_done()) {
      const auto& members = hosts[h]->view().members;
      if (bridge.summed() && members.size() > 1 && random.below(2) == 0) {
        hosts[h]->lose(members[random.below(members.size())]);
      }
      hosts[h]->begin(++tickets[h]);
      bridge.follow(h, tickets[h]);
    }
    const Exchange::Step step = hosts[h]->step(random);
    ASSERT_NE(step, Exchange::Step::kFailed)
        << "seed " << seed << ": " << hosts[h]->error().message;
    done[h] = step == Exchange::Step::kDone;
  }
  for (const auto& host : hosts) expect_truth(c, *host, seed);
}

// A sanitizer makes a case some thirty times as slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kCases = 1000;
#else
constexpr std::uint64_t kCases = 30000;
#endif

TEST(ExchangeWorld, EveryHostEqualsTheSerialOracleInThirtyThousandRandomCases) {
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFatalFailure(); ++seed) {
    check_case(seed);
  }
}

}  // namespace
}  // namespace instep::round
