// One host of a case: its members' machines, stepped by one thread in random order.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "fabric/arena.h"
#include "round/testing.h"

namespace instep::round {

using member::AgentId;

inline constexpr std::uint64_t kRound = 7;

// Applies "next = old + factor * combined" into a space that all members share.
class AddUpdate : public Update {
 public:
  AddUpdate(const std::vector<Range>& units, std::uint64_t carried, float* combined,
            const float* old, float* next, bool streams)
      : units_(units),
        carried_(carried),
        combined_(combined),
        old_(old),
        next_(next),
        streams_(streams) {}
  // By block and by element: what is updated, and how often; for all who share the space.
  Stamp* stamps = nullptr;
  std::vector<int>* updates = nullptr;
  // [coding's nodes][elements], likewise.
  std::vector<std::vector<float>>* kept = nullptr;
  std::vector<std::vector<float>>* kept_next = nullptr;
  reduce::Residual residual(std::size_t node, std::size_t unit) override {
    if (kept == nullptr) return {};
    return {(*kept)[node].data() + units_[unit].begin,
            (*kept_next)[node].data() + units_[unit].begin};
  }
  float* target(std::size_t unit) override {
    return (units_[unit].begin < carried_ ? combined_ : next_) + units_[unit].begin;
  }
  bool streams() const override { return streams_; }
  void apply(std::size_t unit, float factor) override {
    note(unit);
    if (units_[unit].begin >= carried_) return;
    for (std::uint64_t i = units_[unit].begin; i < units_[unit].end(); ++i) {
      next_[i] = old_[i] + factor * combined_[i];
    }
  }
  void carry(std::size_t unit) override {
    note(unit);
    for (std::uint64_t i = units_[unit].begin; i < units_[unit].end(); ++i) next_[i] = old_[i];
  }
  const float* standing(std::size_t unit) override { return old_ + units_[unit].begin; }

 private:
  void note(std::size_t unit) {
    set_stamps(stamps, units_[unit], kRound);
    for (std::uint64_t i = units_[unit].begin; i < units_[unit].end(); ++i) ++(*updates)[i];
  }

  std::vector<Range> units_;
  std::uint64_t carried_;
  float* combined_;
  const float* old_;
  float* next_;
  bool streams_;
};

struct AlignedDelete {
  void operator()(float* p) const { std::free(p); }
};
using Floats = std::unique_ptr<float[], AlignedDelete>;
inline Floats floats(std::size_t count) {
  const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64 + 64;
  Floats out(static_cast<float*>(std::aligned_alloc(64, bytes)));
  std::memset(out.get(), 0, bytes);
  return out;
}

class Host {
 public:
  // With `mine` it is one of several, and these shards are its own: spread over its members at
  // random. What the bridge shows is `world`, made before the round begins.
  Host(const Case& c, std::uint32_t agents, std::uint64_t shuffle,
       const std::vector<bool>* mine = nullptr, std::uint64_t seed = 0)
      : case_(c),
        space_(space_of(c)),
        shuffle_(shuffle),
        hosted_(mine != nullptr),
        mine_(mine),
        random_(seed) {
    std::vector<AgentId> ids;
    for (std::uint32_t a = 0; a < agents; ++a) ids.push_back(static_cast<AgentId>(a));
    stamps_ = std::make_unique<Stamp[]>(space_.blocks());
    updates_of_.resize(space_.elements());
    combined_ = floats(space_.elements());
    old_ = floats(space_.elements());
    next_ = floats(space_.elements());
    sums_.resize(space_.blocks());
    for (std::uint64_t i = 0; i < space_.elements(); ++i) old_[i] = static_cast<float>(i % 7);
    kept_ = kept_next_ = first_kept(c, space_.elements());
    assign(ids);
  }

  // One of its agents dies between two of its steps; the others take on what was its, when they
  // begin again.
  void lose(AgentId agent) {
    std::vector<AgentId> left = view_.members;
    std::erase(left, agent);
    assign(left);
  }

  // Everybody publishes and begins the round, again if it has begun under another ticket.
  void begin(fabric::Ticket ticket = 1) {
    updates_.clear();
    machines_.clear();
    live_.clear();
    for (const AgentId agent : view_.members) start(agent, ticket);
    for (std::size_t i = 0; i < machines_.size(); ++i) live_.push_back(i);
  }
  // Steps a random machine; kDone once all are.
  Exchange::Step step(Random& random) {
    if (live_.empty()) return Exchange::Step::kDone;
    const std::size_t pick = random.below(live_.size());
    failed_ = live_[pick];
    const Exchange::Step step = machines_[failed_]->step();
    if (step != Exchange::Step::kDone) return step;
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(pick));
    return live_.empty() ? Exchange::Step::kDone : Exchange::Step::kAgain;
  }
  // Until all are done; false if one failed.
  bool run(Random& random) {
    while (true) {
      const Exchange::Step now = step(random);
      if (now == Exchange::Step::kFailed) return false;
      if (now == Exchange::Step::kDone) return true;
    }
  }
  // Whether a machine is done.
  bool someone_done() const { return live_.size() < machines_.size(); }
  const Error& error() const { return machines_[failed_]->error(); }

  const member::View& view() const { return view_; }
  const reduce::FlatSpace& space() const { return space_; }
  fabric::AgentWords& words(std::uint32_t agent) { return control_->agents[agent]; }
  std::span<const std::byte> arena(AgentId agent) const {
    return shares_[static_cast<std::size_t>(agent)].arena;
  }
  // How often each element was updated.
  const std::vector<int>& updates() const { return updates_of_; }
  const float* next() const { return next_.get(); }
  const float* old() const { return old_.get(); }
  const std::vector<std::vector<float>>& kept_next() const { return kept_next_; }
  const Outcome& outcome(std::size_t machine) const { return machines_[machine]->outcome(); }
  std::size_t machines() const { return machines_.size(); }

  std::vector<std::byte> world;

 private:
  // What an agent has of the round.
  struct Share {
    std::vector<ShardRow> rows;
    std::vector<Node> nodes;
    std::vector<std::uint64_t> offsets;
    std::vector<std::byte> arena;
    std::uint64_t top = 64;
  };

  void assign(const std::vector<AgentId>& ids) {
    view_ = member::assign({1, 0}, member::round_op(kRound), ids, case_.shards, space_.blocks(),
                           case_.servers ? member::Owners::kServers : member::Owners::kAll, 1);
    for (std::uint32_t shard = 0; hosted_ && shard < case_.shards; ++shard) {
      const AgentId any = view_.members[random_.below(view_.members.size())];
      view_.shard_agent[shard] = (*mine_)[shard] ? any : member::kElsewhere;
    }
    shares_.assign(static_cast<std::size_t>(ids.back()) + 1, {});
    for (const AgentId agent : ids) compute(agent);
  }

  // Before the exchange: its shards' gradients added up to canonical nodes.
  void compute(AgentId agent) {
    Share& share = shares_[static_cast<std::size_t>(agent)];
    std::vector<std::uint32_t> mine;
    for (std::uint32_t shard = 0; shard < case_.shards; ++shard) {
      if (view_.shard_agent[shard] != agent) continue;
      mine.push_back(shard);
      share.rows.push_back(case_.rows[shard]);
    }
    reduce::Merges merges;
    merges.assign(case_.shards, mine, case_.coding.nodes);
    share.nodes = merges.nodes();
    std::uint64_t need = 8192;
    for (const std::uint64_t length : case_.lengths) {
      need += share.nodes.size() * (length + 32) * sizeof(float);
    }
    share.arena.resize(need);
    for (const Node& node : share.nodes) {
      for (std::size_t t = 0; t < case_.lengths.size(); ++t) {
        bool there = false;
        for (std::uint32_t s = node.first; s < node.first + node.count; ++s) {
          there = there || !case_.gradient[s][t].empty();
        }
        share.offsets.push_back(there ? share.top : fabric::Arena::kAbsent);
        for (std::uint64_t i = 0; there && i < case_.lengths[t]; ++i) {
          bool any = false;
          const float value = oracle_element(case_, node, t, i, any);
          std::memcpy(share.arena.data() + share.top + i * sizeof(float), &value, sizeof value);
        }
        if (there) share.top += (case_.lengths[t] * sizeof(float) + 63) / 64 * 64;
      }
    }
  }

  Posted post(AgentId agent, fabric::Ticket ticket) {
    Share& share = shares_[static_cast<std::size_t>(agent)];
    // Only the lead may ask for it.
    const auto directive =
        case_.stops && agent == view_.members.front() ? Directive::kStop : Directive::kNone;
    const Part part{ticket, kRound, directive, share.rows, share.nodes, share.offsets, {}};
    const std::uint64_t mail = share.top;
    share.top += part_bytes(part);
    write_part(part, share.arena.data() + mail);
    return {ticket, kRound, mail, 0};
  }

  void start(AgentId agent, fabric::Ticket ticket) {
    Setup setup;
    setup.view = view_;
    setup.me = agent;
    setup.shards = case_.shards;
    setup.full_samples = 8;
    setup.tensors = space_.tensors();
    setup.carried = case_.carried;
    setup.coding = case_.coding;
    for (const member::Slice& slice : view_.slices) {
      if (slice.owner != agent) continue;
      for (const Range& unit : reduce::cut_units(space_, slice.first_block, slice.blocks, 2048)) {
        setup.units.push_back(unit);
      }
    }
    setup.units = unstamped(setup.units, stamps_.get(), kRound);
    setup.control = control_.get();
    for (const Share& share : shares_) setup.arenas.emplace_back(share.arena);
    setup.hosted = hosted_;
    setup.world = world;
    setup.shuffle = shuffle_;
    updates_.push_back(std::make_unique<AddUpdate>(setup.units, carried_begin(case_, space_),
                                                   combined_.get(), old_.get(), next_.get(),
                                                   case_.streams));
    updates_.back()->stamps = stamps_.get();
    updates_.back()->updates = &updates_of_;
    updates_.back()->kept = &kept_;
    updates_.back()->kept_next = &kept_next_;
    machines_.push_back(std::make_unique<Exchange>(std::move(setup)));
    const Judging judging{case_.judged, case_.judged, case_.clip, sums_.data()};
    machines_.back()->begin(post(agent, ticket), judging, updates_.back().get());
  }

  const Case& case_;
  reduce::FlatSpace space_;
  std::uint64_t shuffle_;
  bool hosted_;
  const std::vector<bool>* mine_;
  Random random_;
  member::View view_;
  std::unique_ptr<fabric::ControlPage> control_ = std::make_unique<fabric::ControlPage>();
  std::vector<Share> shares_;  // [agents]
  Floats combined_, old_, next_;
  std::unique_ptr<Stamp[]> stamps_;
  std::vector<int> updates_of_;
  std::vector<std::vector<float>> kept_, kept_next_;
  std::vector<double> sums_;
  std::vector<std::unique_ptr<AddUpdate>> updates_;
  std::vector<std::unique_ptr<Exchange>> machines_;
  std::vector<std::size_t> live_;
  std::size_t failed_ = 0;
};

inline bool same(const ShardRow& a, const ShardRow& b) {
  return a.shard == b.shard && a.samples == b.samples && a.drawn == b.drawn &&
         std::bit_cast<std::uint64_t>(a.loss) == std::bit_cast<std::uint64_t>(b.loss);
}

// Every outcome and all that the owners wrote, bit by bit.
inline void expect_truth(const Case& c, const Host& host, std::uint64_t seed) {
  const Truth truth = truth_of(c, host.old());
  if (c.coding.codec == reduce::Codec::kTopK && !truth.is_void) {
    ASSERT_EQ(host.kept_next(), truth.kept) << "seed " << seed;
  }
  for (std::size_t i = 0; i < truth.next.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(truth.next[i]),
              std::bit_cast<std::uint32_t>(host.next()[i]))
        << "seed " << seed << " element " << i;
  }
  ASSERT_EQ(std::count(host.updates().begin(), host.updates().end(), 1), host.updates().size())
      << "seed " << seed;
  for (std::size_t m = 0; m < host.machines(); ++m) {
    const Outcome& outcome = host.outcome(m);
    ASSERT_EQ(outcome.applied, !truth.is_void) << "seed " << seed;
    ASSERT_EQ(outcome.directive, c.stops ? Directive::kStop : Directive::kNone) << "seed " << seed;
    ASSERT_EQ(outcome.rows.size(), c.rows.size());
    for (std::size_t shard = 0; shard < c.rows.size(); ++shard) {
      ASSERT_TRUE(same(outcome.rows[shard], c.rows[shard]))
          << "seed " << seed << " shard " << shard;
    }
  }
}

}  // namespace instep::round
