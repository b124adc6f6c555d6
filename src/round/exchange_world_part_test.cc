// What members make of the world's part: when they take it, and what they refuse of it.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "fabric/arena.h"
#include "fabric/wait.h"
#include "round/testing_host.h"

namespace instep::round {
namespace {

using fabric::Arena;

// One host of two: four shards, two of them its own, and a world's part that a test may spoil.
class WorldPart : public ::testing::Test {
 protected:
  WorldPart() {
    case_.shards = 4;
    case_.lengths = {5, 3};
    for (std::uint32_t shard = 0; shard < 4; ++shard) {
      case_.gradient.push_back({{1, 2, 3, 4, 5}, {6, 7, 8}});
      case_.rows.push_back({shard, 8, 0.5});
    }
    rows_ = case_.rows;
    host_ = std::make_unique<Host>(case_, 2, 0, &mine_);
    host_->world.resize(4096);
    host_->begin();
  }
  void show() {
    const Part part{ticket_, round_, Directive::kNone, rows_, nodes_, offsets_, {}};
    write_part(part, host_->world.data() + 1024);
    fabric::AgentWords& words = host_->words(fabric::kWorld);
    words.mail[0].store(mail_);
    words.arrived.store(stamps_);
    auto* stamps = reinterpret_cast<Stamp*>(host_->world.data() + 512);
    for (std::uint64_t i = 0; i < 2 * host_->space().blocks(); ++i) {
      stamps[i].store(stamp_of(kRound));
    }
    words.told.store(ticket_);
    words.published.store(ticket_);
  }
  // That nothing is made of the part, and why.
  std::string refusal() {
    show();
    EXPECT_FALSE(host_->run(random_));
    for (std::uint64_t i = 0; i < host_->space().elements(); ++i) EXPECT_EQ(host_->next()[i], 0);
    return host_->error().message;
  }

  Case case_;
  std::vector<bool> mine_ = {true, true, false, false};
  std::unique_ptr<Host> host_;
  Random random_{1};
  fabric::Ticket ticket_ = 1;
  std::uint64_t round_ = kRound, mail_ = 1024, stamps_ = 512;
  std::vector<ShardRow> rows_;
  std::vector<Node> nodes_ = {{0, 2}, {2, 2}};
  std::vector<std::uint64_t> offsets_ = {64, Arena::kAbsent, 64, 128};
};

TEST_F(WorldPart, IsWaitedForAndTaken) {
  Exchange::Step step = Exchange::Step::kAgain;
  for (int i = 0; i < 100; ++i) step = host_->step(random_);
  EXPECT_EQ(step, Exchange::Step::kWait);
  show();
  EXPECT_TRUE(host_->run(random_)) << host_->error().message;
  EXPECT_EQ(host_->outcome(0).samples, 32U);
  // What its one owner or two read: all blocks, of two sums each.
  EXPECT_EQ(host_->outcome(0).bytes_read + host_->outcome(1).bytes_read,
            2 * host_->space().elements() * sizeof(float));
}

TEST_F(WorldPart, UnderALaterTicketIsForALaterView) {
  ticket_ = 2;
  show();
  Exchange::Step step = Exchange::Step::kAgain;
  while (step == Exchange::Step::kAgain) step = host_->step(random_);
  EXPECT_EQ(step, Exchange::Step::kStale);
}

TEST_F(WorldPart, OfAnotherRoundIsRefused) {
  round_ = kRound + 1;
  EXPECT_EQ(refusal(), "the other hosts: a part is of round 8 and not of 7");
}

TEST_F(WorldPart, MustCoverTheTree) {
  nodes_ = {{0, 2}};
  offsets_.resize(2);
  EXPECT_EQ(refusal(), "the other hosts: a part has sums of 2 shards and not of 4");
}

TEST_F(WorldPart, WithoutAnySumIsRefusedAtFirstToo) {
  nodes_.clear();
  offsets_.clear();
  EXPECT_EQ(refusal(), "the other hosts: a part has sums of 0 shards and not of 4");
}

TEST_F(WorldPart, HasEachShardInOneSum) {
  nodes_ = {{0, 4}, {2, 2}};
  EXPECT_EQ(refusal(), "the other hosts: a part has shard 2 in two sums");
}

TEST_F(WorldPart, HasSumsOfTheTreeOnly) {
  nodes_ = {{0, 1}, {1, 3}};
  EXPECT_EQ(refusal(), "the other hosts: a part has a sum that is none of the tree");
}

TEST_F(WorldPart, ReachesNoFurtherThanItsMemory) {
  offsets_[3] = 4096 - 8;
  EXPECT_EQ(refusal(), "the other hosts: a part has a gradient outside its arena");
}

TEST_F(WorldPart, HasTensorsOfEverySum) {
  offsets_.pop_back();
  EXPECT_EQ(refusal(), "the other hosts: a part has 3 tensors and not 4");
}

TEST_F(WorldPart, HasARowOfEveryShard) {
  rows_.pop_back();
  EXPECT_EQ(refusal(), "the other hosts: a part has rows of 3 shards and not of 4");
}

TEST_F(WorldPart, HasOneRowOfAShard) {
  rows_[3].shard = 1;
  EXPECT_EQ(refusal(), "the other hosts: a part has two rows of shard 1");
}

TEST_F(WorldPart, HasNoRowOfAShardThatThereIsNot) {
  rows_[0].shard = 4;
  EXPECT_EQ(refusal(), "the other hosts: a part has a row of shard 4, which is not its");
}

TEST_F(WorldPart, LiesInItsMemory) {
  mail_ = 4096;
  EXPECT_EQ(refusal(), "the other hosts: its mail lies outside its arena");
}

TEST_F(WorldPart, SaysWithinItsMemoryWhatHasCome) {
  stamps_ = 4096 - 4;
  EXPECT_EQ(refusal(), "the other hosts: what has come lies outside its memory");
}

// Two units of two blocks, the second of which comes first.
TEST_F(WorldPart, IsAppliedBlockByBlockAsItComes) {
  case_.lengths = {2048, 2000};
  for (auto& tensors : case_.gradient) {
    tensors = {std::vector<float>(2048), std::vector<float>(2000)};
  }
  host_ = std::make_unique<Host>(case_, 1, 0, &mine_);
  host_->world.resize(1 << 15);
  host_->begin();
  nodes_ = {{0, 4}};
  offsets_ = {Arena::kAbsent, 2048};
  auto* sums = reinterpret_cast<float*>(host_->world.data() + 2048);
  std::fill_n(sums, 2000, 3.0F);
  const auto write = [&](fabric::Ticket ticket) {
    write_part({ticket, round_, Directive::kNone, rows_, nodes_, offsets_, {}},
               host_->world.data() + 1024);
  };
  write(1);
  fabric::AgentWords& words = host_->words(fabric::kWorld);
  words.mail[0].store(1024);
  words.arrived.store(512);
  auto* stamps =
      reinterpret_cast<Stamp*>(host_->world.data() + 512) + (kRound & 1) * host_->space().blocks();
  const auto steps_until = [&](Exchange::Step what) {
    Exchange::Step step = Exchange::Step::kAgain;
    while (step == Exchange::Step::kAgain) step = host_->step(random_);
    EXPECT_EQ(step, what);
  };
  const auto arrive = [&](std::uint64_t block) {
    stamps[block].store(stamp_of(kRound));
    words.arrivals.fetch_add(1);
  };
  const auto updated = [&](std::uint64_t unit) { return host_->updates()[unit * 2048]; };
  ASSERT_EQ(host_->space().blocks(), 4U);
  arrive(2);
  arrive(3);
  steps_until(Exchange::Step::kWait);
  EXPECT_EQ(updated(1), 0);  // before the rows are here
  words.told.store(1);
  steps_until(Exchange::Step::kWait);
  EXPECT_EQ(updated(0), 0);
  EXPECT_EQ(updated(1), 1);
  arrive(1);
  steps_until(Exchange::Step::kWait);
  EXPECT_EQ(updated(0), 0);
  arrive(0);
  steps_until(Exchange::Step::kWait);
  EXPECT_EQ(updated(0), 1);
  // Nobody is done with a round that is not whole.
  EXPECT_LT(host_->words(0).finished.load(), 1U);
  words.published.store(1);
  steps_until(Exchange::Step::kDone);
  EXPECT_EQ(host_->next()[2048 + 1500], host_->old()[2048 + 1500] + 3.0F / 4);
}

class CodedWorldPart : public WorldPart {
 protected:
  void code(reduce::Codec codec) {
    case_.coding.codec = codec;
    case_.coding.nodes = reduce::cut_tree(4, 2);
    case_.coding.keep = 0.5;
    host_ = std::make_unique<Host>(case_, 2, 0, &mine_);
    host_->world.resize(4096);
    host_->begin();
  }
};

TEST_F(CodedWorldPart, StaysWithinTheBoundsOfTopK) {
  code(reduce::Codec::kTopK);
  nodes_ = {{0, 4}};
  offsets_.resize(2);
  EXPECT_EQ(refusal(), "the other hosts: a part has a sum that is none of the tree");
}

// Two roundings of sums that are final would be one too many.
TEST_F(CodedWorldPart, IsOfTheRootWithACodecThatPacks) {
  code(reduce::Codec::kBf16);
  EXPECT_EQ(refusal(), "the other hosts: a part has a sum that is none of the tree");
}

TEST_F(CodedWorldPart, IsTakenAsItIsWithACodecThatPacks) {
  code(reduce::Codec::kInt8);
  nodes_ = {{0, 4}};
  offsets_ = {64, Arena::kAbsent};
  const float gradient[] = {1, -2, 0.3F, 0, 5};
  std::memcpy(host_->world.data() + 64, gradient, sizeof gradient);
  show();
  ASSERT_TRUE(host_->run(random_)) << host_->error().message;
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(host_->next()[i], host_->old()[i] + gradient[i]);
  }
}

// A bridge that sleeps on a member's word, for longer than a test may take.
TEST_F(WorldPart, ABridgeIsWokenByWhatItWaitsFor) {
  fabric::AgentWords& member = host_->words(0);
  fabric::AgentWords& bridge = host_->words(fabric::kWorld);
  std::thread sleeper([&] {
    while (!fabric::wait_at_least(member.news, 1, bridge.waiting, {0, 3'600'000})) {
    }
  });
  while (bridge.waiting.load() == 0) std::this_thread::yield();
  while (member.published.load() == 0) host_->step(random_);
  sleeper.join();
}

}  // namespace
}  // namespace instep::round
