#include "round/state_move.h"

#include <gtest/gtest.h>

#include <cstring>

namespace instep::round {
namespace {

struct Sent {
  RelayFrame frame;
  std::vector<std::byte> bytes;
};

std::vector<std::byte> numbered(std::size_t bytes, unsigned from) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = std::byte(i * 7 + from);
  return out;
}

class StateMove : public ::testing::Test {
 protected:
  StateMove() {
    give_state(4, 30, book_, state_, parts_, false,
               [this](const RelayFrame& frame, auto bytes, const auto&) {
                 sent_.push_back({frame, {bytes.begin(), bytes.end()}});
               });
  }
  StateTaker taker() { return {4, 30, there_, parts_}; }
  static Status take(StateTaker& taker, const Sent& it) {
    INSTEP_ASSIGN_OR_RETURN(const auto to, taker.place(it.frame));
    std::memcpy(to.data(), it.bytes.data(), it.bytes.size());
    return taker.took(it.frame);
  }

  const std::vector<std::byte> book_ = numbered(3'000'000, 1), state_ = numbered(5'000'000, 2);
  const StateParts parts_ = {{{4096, 100}, {1'000'000, 2'500'000}}, {{8192, 50}}};
  std::vector<std::byte> there_ = std::vector<std::byte>(state_.size());
  std::vector<Sent> sent_;
};

TEST_F(StateMove, BringsTheBookAndTheParts) {
  StateTaker taker = this->taker();
  for (const Sent& it : sent_) {
    EXPECT_FALSE(taker.whole());
    ASSERT_TRUE(take(taker, it).ok());
  }
  EXPECT_TRUE(taker.whole());
  EXPECT_EQ(taker.take_book(), book_);
  std::vector<std::byte> wanted(state_.size());
  for (const StatePart& part : parts_.at) {
    std::memcpy(wanted.data() + part.begin, state_.data() + part.begin, part.bytes);
  }
  EXPECT_EQ(there_, wanted);
}

TEST_F(StateMove, OfARoundThatHasBegunTheNextOnesPartsComeToo) {
  sent_.clear();
  give_state(4, 30, book_, state_, parts_, true,
             [this](const RelayFrame& frame, auto bytes, const auto&) {
               sent_.push_back({frame, {bytes.begin(), bytes.end()}});
             });
  StateTaker taker = this->taker();
  for (const Sent& it : sent_) {
    EXPECT_FALSE(taker.whole());
    ASSERT_TRUE(take(taker, it).ok());
  }
  EXPECT_TRUE(taker.whole());
  EXPECT_EQ(std::memcmp(there_.data() + 8192, state_.data() + 8192, 50), 0);
}

TEST_F(StateMove, NothingElseIsTaken) {
  // Each frame in turn is another one, or comes again.
  for (std::size_t i = 0; i < sent_.size(); ++i) {
    for (int change = 0; change < 6; ++change) {
      StateTaker taker = this->taker();
      for (std::size_t k = 0; k < i; ++k) ASSERT_TRUE(take(taker, sent_[k]).ok());
      Sent bad = sent_[i];
      if (change == 0) bad.frame.round = 31;
      if (change == 1) bad.frame.lineup = 5;
      if (change == 2 && bad.frame.kind == kStateFrame) ++bad.frame.index;
      if (change == 3 && bad.frame.kind == kStateFrame) bad.frame.at += 4;
      if (change == 4) bad.frame.bytes += 3'000'000;
      if (change == 5 && i > 0) bad = sent_[i - 1];
      if (bad.frame != sent_[i].frame) {
        EXPECT_FALSE(taker.place(bad.frame).ok()) << i << " " << change;
      }
    }
  }
  StateTaker taker = this->taker();
  const std::uint64_t huge = std::uint64_t{1} << 40;
  Sent claim = sent_[0];
  std::memcpy(claim.bytes.data(), &huge, sizeof huge);
  EXPECT_FALSE(take(taker, claim).ok());
}

TEST_F(StateMove, PartsLieInTheFile) {
  wire::Ready ready;
  EXPECT_FALSE(state_parts(ready, 0, 100).ok());
  ready.state_at_even = {0, 60, 60, 40};
  ready.state_at_odd = {60, 40, 10, 5};
  EXPECT_EQ(state_parts(ready, 2, 100)->at, (std::vector<StatePart>{{0, 60}, {60, 40}}));
  EXPECT_EQ(state_parts(ready, 2, 100)->next, (std::vector<StatePart>{{10, 5}}));
  EXPECT_EQ(state_parts(ready, 3, 100)->next, (std::vector<StatePart>{{0, 60}}));
  EXPECT_FALSE(state_parts(ready, 2, 99).ok());
  ready.state_at_odd = {10, 91};
  EXPECT_FALSE(state_parts(ready, 1, 100).ok());
  ready.state_at_odd = {10};
  EXPECT_FALSE(state_parts(ready, 1, 100).ok());
}

}  // namespace
}  // namespace instep::round
