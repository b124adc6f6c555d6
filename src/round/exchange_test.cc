// The exchange against a serial oracle, bit for bit: random shapes, members, ranges and values, all
// members' machines stepped by one thread in random order.
#include "round/exchange.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "base/random.h"

namespace instep::round {
namespace {

using member::AgentId;
using reduce::Node;
using reduce::Range;

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
  // [coding's nodes][elements], for all who share the space.
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
    if (units_[unit].begin >= carried_) return;
    for (std::uint64_t i = units_[unit].begin; i < units_[unit].end(); ++i) {
      next_[i] = old_[i] + factor * combined_[i];
    }
  }
  void carry(std::size_t unit) override {
    for (std::uint64_t i = units_[unit].begin; i < units_[unit].end(); ++i) next_[i] = old_[i];
  }
  const float* standing(std::size_t unit) override { return old_ + units_[unit].begin; }

 private:
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
Floats floats(std::size_t count) {
  const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64 + 64;
  Floats out(static_cast<float*>(std::aligned_alloc(64, bytes)));
  std::memset(out.get(), 0, bytes);
  return out;
}

struct Case {
  std::uint32_t shards = 1, agents = 1;
  std::vector<std::uint64_t> lengths;
  bool judged = false, streams = false, servers = false;
  double clip = 0;
  std::vector<std::vector<std::vector<float>>> gradient;  // [shard][tensor], empty: absent
  std::vector<ShardRow> rows;
  std::optional<Carried> carried;  // the last of lengths
  reduce::Coding coding;
};

float odd_value(Random& random) {
  const std::uint64_t kind = random.below(200);
  if (kind == 0) return std::numeric_limits<float>::infinity();
  if (kind == 1) return -std::numeric_limits<float>::infinity();
  if (kind == 2)
    return std::bit_cast<float>(0x7fc00001U + static_cast<std::uint32_t>(random.below(99)));
  if (kind == 3) return -0.0F;
  return static_cast<float>(random.uniform() * 2 - 1);
}

Case make_case(Random& random) {
  Case c;
  c.agents = 1 + static_cast<std::uint32_t>(random.below(8));
  c.shards = 1 + static_cast<std::uint32_t>(random.below(12));
  const bool special = random.below(4) == 0;
  static constexpr std::uint64_t kLengths[] = {0,  1,   2,    15,   16,   17,
                                               31, 333, 1023, 1024, 1025, 3001};
  const std::uint64_t tensors = random.below(4);
  for (std::uint64_t t = 0; t < tensors; ++t) {
    c.lengths.push_back(kLengths[random.below(random.below(4) == 0 ? std::size(kLengths) : 8)]);
  }
  c.judged = random.below(3) == 0;
  c.clip = c.judged && random.below(2) == 0 ? 0.5 : 0;
  c.streams = random.below(2) == 0;
  c.servers = random.below(3) == 0;
  if (random.below(2) == 0) {
    c.coding.codec = static_cast<reduce::Codec>(1 + random.below(3));
    c.coding.nodes =
        reduce::cut_tree(c.shards, 1 + static_cast<std::uint32_t>(random.below(c.shards)));
    c.coding.keep = 0.02;
  }
  const bool carries = random.below(3) == 0;
  if (carries) {
    c.carried.emplace();
    std::uint64_t top = 0;
    for (std::uint64_t part = 0; part < 1 + random.below(4); ++part) {
      c.carried->parts.push_back({top, 1 + random.below(1500)});
      top = (c.carried->parts.back().end() + 15) / 16 * 16;
    }
    c.carried->flags = {top, c.carried->parts.size()};
    c.lengths.push_back(c.carried->flags.end());
  }
  for (std::uint32_t shard = 0; shard < c.shards; ++shard) {
    const std::uint32_t samples =
        random.below(6) == 0 ? 1 + static_cast<std::uint32_t>(random.below(8)) : 8;
    c.rows.push_back({shard, samples, random.uniform()});
    auto& tensors_of = c.gradient.emplace_back();
    for (const std::uint64_t length : c.lengths) {
      auto& values = tensors_of.emplace_back();
      if (random.below(10) == 0) continue;
      for (std::uint64_t i = 0; i < length; ++i) {
        values.push_back(special ? odd_value(random) : static_cast<float>(random.uniform() - 0.5));
      }
    }
    if (!carries) continue;
    auto& values = tensors_of.back();
    values.resize(c.lengths.back(), 0.25F);
    for (std::uint64_t i = c.carried->flags.begin; i < c.carried->flags.end(); ++i) {
      values[i] = random.below(3) == 0 ? 1.0F : 0.0F;
    }
  }
  return c;
}

// What a single machine would compute, element by element, by the definition.
float oracle_element(const Case& c, const Node& node, std::size_t tensor, std::uint64_t i,
                     bool& there) {
  if (node.count == 1) {
    const auto& values = c.gradient[node.first][tensor];
    there = !values.empty();
    if (!there) return 0;
    const float weight = static_cast<float>(c.rows[node.first].samples) / 8.0F;
    return weight == 1.0F ? values[i] : values[i] * weight;
  }
  const std::uint32_t left = reduce::left_count(node.count);
  bool a_there = false;
  bool b_there = false;
  const float a = oracle_element(c, {node.first, left}, tensor, i, a_there);
  const float b = oracle_element(c, {node.first + left, node.count - left}, tensor, i, b_there);
  there = a_there || b_there;
  return a_there && b_there ? a + b : a_there ? a : b;
}

float total_factor(const Case& c) {
  double samples = 0;
  for (const ShardRow& row : c.rows) samples += row.samples;
  return static_cast<float>(8.0 / samples);
}

// What owners keep back at first, by node: anything.
std::vector<std::vector<float>> first_kept(const Case& c, std::size_t elements) {
  std::vector<std::vector<float>> out(c.coding.nodes.size());
  for (std::size_t node = 0; node < out.size(); ++node) {
    for (std::size_t i = 0; i < elements; ++i) {
      out[node].push_back(static_cast<float>((i * 7 + node) % 11) * 0.01F);
    }
  }
  return out;
}

// One tensor by way of the codec: whole rows of nodes, encoded block by block, and added up.
void coded_oracle(const Case& c, const Range& place, std::size_t t, std::vector<float>& out,
                  std::vector<std::vector<float>>& kept_next) {
  const std::vector<std::vector<float>> kept = first_kept(c, out.size());
  const float factor = total_factor(c);
  for (std::uint64_t at = 0; at < place.count;) {
    const std::uint64_t flat = place.begin + at;
    const std::uint64_t run =
        std::min(place.count - at, reduce::kBlockElements - flat % reduce::kBlockElements);
    std::vector<std::vector<float>> sums(c.coding.nodes.size());
    for (std::size_t node = 0; node < sums.size(); ++node) {
      bool there = false;
      for (std::uint64_t i = at; i < at + run; ++i) {
        sums[node].push_back(oracle_element(c, c.coding.nodes[node], t, i, there));
      }
      float* next = kept_next[node].data() + flat;
      if (!there) {
        sums[node].clear();
        std::copy_n(kept[node].data() + flat, run, next);
      } else if (c.coding.codec == reduce::Codec::kBf16) {
        reduce::through_bf16(sums[node].data(), run);
      } else if (c.coding.codec == reduce::Codec::kInt8) {
        reduce::through_int8(sums[node].data(), run);
      } else {
        reduce::through_top_k(sums[node].data(), kept[node].data() + flat, next, run,
                              static_cast<std::size_t>(std::ceil(0.02 * double(run))));
      }
    }
    std::vector<const float*> rows;
    for (const auto& sum : sums) rows.push_back(sum.empty() ? nullptr : sum.data());
    reduce::Combiner(c.shards, c.coding.nodes)
        .run(rows.data(), out.data() + flat, run, factor, false);
    if (c.coding.codec == reduce::Codec::kBf16) reduce::through_bf16(out.data() + flat, run);
    if (c.coding.codec == reduce::Codec::kInt8) reduce::through_int8(out.data() + flat, run);
    at += run;
  }
}

std::vector<float> oracle(const Case& c, const reduce::FlatSpace& space,
                          std::vector<std::vector<float>>& kept_next) {
  std::vector<float> out(space.elements(), 0.0F);
  const float factor = total_factor(c);
  for (std::size_t t = 0; t < c.lengths.size(); ++t) {
    const Range& place = space.tensors()[t];
    if (c.coding.codec != reduce::Codec::kNone && !(c.carried && t + 1 == c.lengths.size())) {
      coded_oracle(c, place, t, out, kept_next);
      continue;
    }
    for (std::uint64_t i = 0; i < c.lengths[t]; ++i) {
      bool there = false;
      const float sum = oracle_element(c, {0, c.shards}, t, i, there);
      float mean = there ? sum * factor : 0.0F;
      if (mean != mean) mean = std::numeric_limits<float>::quiet_NaN();
      out[place.begin + i] = mean;
    }
  }
  return out;
}

class World {
 public:
  World(const Case& c, std::uint64_t shuffle)
      : case_(c), control_(std::make_unique<fabric::ControlPage>()) {
    if (!c.lengths.empty()) space_.begin_group();
    for (std::size_t t = 0; t < c.lengths.size(); ++t) {
      if (c.carried && t + 1 == c.lengths.size()) space_.begin_group();
      space_.add(c.lengths[t]);
    }
    space_.finish();
    std::vector<AgentId> agents;
    for (std::uint32_t a = 0; a < c.agents; ++a) agents.push_back(static_cast<AgentId>(a));
    view_ = member::assign({1, 0}, member::round_op(7), agents, c.shards, space_.blocks(),
                           c.servers ? member::Owners::kServers : member::Owners::kAll, 1);
    combined_ = floats(space_.elements());
    old_ = floats(space_.elements());
    next_ = floats(space_.elements());
    sums_.resize(space_.blocks());
    for (std::uint64_t i = 0; i < space_.elements(); ++i) old_[i] = static_cast<float>(i % 7);
    kept_ = kept_next_ = first_kept(c, space_.elements());
    for (const AgentId agent : agents) publish(agent);
    for (const AgentId agent : view_.members) start(agent, shuffle);
  }

  // Steps a random machine until all are done; false if one failed.
  bool run(Random& random) {
    std::vector<std::size_t> live(machines_.size());
    for (std::size_t i = 0; i < live.size(); ++i) live[i] = i;
    while (!live.empty()) {
      const std::size_t pick = random.below(live.size());
      const Exchange::Step step = machines_[live[pick]]->step();
      if (step == Exchange::Step::kFailed) return false;
      if (step == Exchange::Step::kDone)
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    return true;
  }

  const reduce::FlatSpace& space() const { return space_; }
  // Where the carried tensor begins; behind everything if there is none.
  std::uint64_t carried() const {
    return case_.carried ? space_.tensors().back().begin : space_.elements();
  }
  const float* next() const { return next_.get(); }
  const float* old() const { return old_.get(); }
  const std::vector<std::vector<float>>& kept_next() const { return kept_next_; }
  const Outcome& outcome(std::size_t machine) const { return machines_[machine]->outcome(); }
  std::size_t machines() const { return machines_.size(); }

 private:
  // What an agent does before the exchange: its shards' gradients added up to canonical nodes.
  void publish(AgentId agent) {
    std::size_t top = 64;
    std::vector<ShardRow> rows;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    for (std::uint32_t shard = 0; shard < case_.shards; ++shard) {
      if (view_.shard_agent[shard] != agent) continue;
      if (count++ == 0) first = shard;
      rows.push_back(case_.rows[shard]);
    }
    std::vector<Node> nodes;
    const std::vector<Node> whole = {{0, case_.shards}};
    for (const Node& bound : case_.coding.nodes.empty() ? whole : case_.coding.nodes) {
      const std::uint32_t begin = std::max(first, bound.first);
      const std::uint32_t end = std::min(first + count, bound.first + bound.count);
      if (begin >= end) continue;
      for (const Node& node : reduce::maximal_nodes(case_.shards, begin, end - begin)) {
        nodes.push_back(node);
      }
    }
    std::uint64_t need = 4096;
    for (const std::uint64_t length : case_.lengths)
      need += nodes.size() * (length + 32) * sizeof(float);
    auto& arena = arenas_.emplace_back(need);
    std::vector<std::uint64_t> offsets;
    for (const Node& node : nodes) {
      for (std::size_t t = 0; t < case_.lengths.size(); ++t) {
        bool there = false;
        for (std::uint32_t s = node.first; s < node.first + node.count; ++s) {
          there = there || !case_.gradient[s][t].empty();
        }
        if (!there) {
          offsets.push_back(kAbsent);
          continue;
        }
        offsets.push_back(top);
        for (std::uint64_t i = 0; i < case_.lengths[t]; ++i) {
          bool any = false;
          const float value = oracle_element(case_, node, t, i, any);
          std::memcpy(arena.data() + top + i * sizeof(float), &value, sizeof value);
        }
        top += (case_.lengths[t] * sizeof(float) + 63) / 64 * 64;
      }
    }
    const Part part{1, 7, Directive::kNone, rows, nodes, offsets, {}};
    write_part(part, arena.data() + top);
    posted_.push_back({1, 7, top, 0});
  }

  void start(AgentId agent, std::uint64_t shuffle) {
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
    setup.control = control_.get();
    for (const auto& arena : arenas_) setup.arenas.emplace_back(arena);
    setup.shuffle = shuffle;
    updates_.push_back(std::make_unique<AddUpdate>(setup.units, carried(), combined_.get(),
                                                   old_.get(), next_.get(), case_.streams));
    updates_.back()->kept = &kept_;
    updates_.back()->kept_next = &kept_next_;
    machines_.push_back(std::make_unique<Exchange>(std::move(setup)));
    Judging judging{case_.judged, case_.judged, case_.clip, sums_.data()};
    machines_.back()->begin(posted_[static_cast<std::size_t>(agent)], judging,
                            updates_.back().get());
  }

  const Case& case_;
  reduce::FlatSpace space_;
  member::View view_;
  std::unique_ptr<fabric::ControlPage> control_;
  std::vector<std::vector<std::byte>> arenas_;
  std::vector<Posted> posted_;
  Floats combined_, old_, next_;
  std::vector<std::vector<float>> kept_, kept_next_;
  std::vector<double> sums_;
  std::vector<std::unique_ptr<AddUpdate>> updates_;
  std::vector<std::unique_ptr<Exchange>> machines_;
};

// What becomes of the carried tensor: the mean, but of the parts that no shard has changed.
std::vector<float> carried_oracle(const Case& c, const float* combined, const float* old) {
  std::vector<float> out(combined, combined + c.lengths.back());
  for (std::size_t part = 0; part < c.carried->parts.size(); ++part) {
    const bool changed = std::any_of(c.gradient.begin(), c.gradient.end(), [&](const auto& of) {
      return of.back()[c.carried->flags.begin + part] != 0;
    });
    const Range& place = c.carried->parts[part];
    if (!changed) std::copy_n(old + place.begin, place.count, out.data() + place.begin);
  }
  return out;
}

void check_case(std::uint64_t seed) {
  Random random(seed);
  const Case c = make_case(random);
  World world(c, random.below(2) == 0 ? 0 : seed);
  ASSERT_TRUE(world.run(random)) << "seed " << seed;
  std::vector<std::vector<float>> kept = first_kept(c, world.space().elements());
  const std::vector<float> combined = oracle(c, world.space(), kept);
  if (c.coding.codec == reduce::Codec::kTopK && world.outcome(0).applied) {
    ASSERT_EQ(world.kept_next(), kept) << "seed " << seed;
  }
  float factor = 1;
  bool is_void = false;
  if (c.judged) {
    std::vector<double> sums;
    for (std::size_t b = 0; b < combined.size(); b += reduce::kBlockElements) {
      sums.push_back(b >= world.carried()
                         ? 0
                         : reduce::sum_of_squares(combined.data() + b, reduce::kBlockElements));
    }
    const double norm = std::sqrt(reduce::tree_sum(sums));
    is_void = !std::isfinite(norm);
    if (c.clip > 0 && !is_void) factor = static_cast<float>(std::min(1.0, c.clip / (norm + 1e-6)));
  }
  std::vector<float> carried;
  if (c.carried) {
    carried = carried_oracle(c, combined.data() + world.carried(), world.old() + world.carried());
    carried.resize(combined.size() - world.carried(), 0.0F);
  }
  for (std::size_t i = 0; i < combined.size(); ++i) {
    const float old = world.old()[i];
    const float expected = is_void                ? old
                           : i >= world.carried() ? carried[i - world.carried()]
                                                  : old + factor * combined[i];
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected), std::bit_cast<std::uint32_t>(world.next()[i]))
        << "seed " << seed << " element " << i;
  }
  for (std::size_t m = 0; m < world.machines(); ++m) {
    ASSERT_EQ(world.outcome(m).loss, world.outcome(0).loss) << "seed " << seed;
    ASSERT_EQ(world.outcome(m).applied, !is_void) << "seed " << seed;
  }
}

// A sanitizer makes a case some thirty times as slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kCases = 3000;
#else
constexpr std::uint64_t kCases = 100000;
#endif

TEST(Exchange, EqualsTheSerialOracleInAHundredThousandRandomCases) {
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFatalFailure(); ++seed) {
    check_case(seed);
  }
}

TEST(Exchange, ANonFiniteLossVoidsTheRoundAndNamesTheShard) {
  Random random(3);
  Case c = make_case(random);
  while (c.shards < 4) c = make_case(random);
  c.rows[2].loss = std::nan("");
  World world(c, 0);
  ASSERT_TRUE(world.run(random));
  for (std::size_t m = 0; m < world.machines(); ++m) {
    EXPECT_EQ(world.outcome(m).bad_shard, 2U);
    EXPECT_FALSE(world.outcome(m).applied);
  }
  for (std::uint64_t i = 0; i < world.space().elements(); ++i)
    EXPECT_EQ(world.next()[i], world.old()[i]);
}

}  // namespace
}  // namespace instep::round
