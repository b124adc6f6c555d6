#include "round/seat.h"

#include <gtest/gtest.h>

#include <memory>

namespace instep::round {
namespace {

using member::gather_op;
using member::round_op;
using member::View;

View view(std::uint32_t number, member::Op first_op, const std::vector<member::AgentId>& agents) {
  return member::assign({1, number}, first_op, agents, 4, 8, member::Owners::kAll, 1);
}

class SeatTest : public testing::Test {
 protected:
  std::unique_ptr<fabric::AgentWords> words_ = std::make_unique<fabric::AgentWords>();
  Seat seat_{*words_, 1};
};

TEST_F(SeatTest, AViewBeginsWithItsOpAndIsDueOnce) {
  seat_.offer(view(1, gather_op(5, 0), {0, 1}));
  seat_.begin_gather(5);
  ASSERT_TRUE(seat_.is_due());
  const auto first = seat_.due();
  ASSERT_TRUE(first);
  seat_.take(*first);
  EXPECT_TRUE(seat_.member());
  EXPECT_FALSE(seat_.is_due());
  seat_.offer(view(2, round_op(6), {0, 1, 2}));
  seat_.begin_round(5);
  EXPECT_FALSE(seat_.is_due());
  seat_.begin_gather(6);
  EXPECT_FALSE(seat_.is_due());
  seat_.begin_round(6);
  EXPECT_TRUE(seat_.is_due());
}

TEST_F(SeatTest, AViewFromAnEarlierOpOvertakesLaterOnes) {
  seat_.offer(view(2, round_op(9), {0, 1, 2}));
  seat_.offer(view(3, round_op(7), {1, 2}));
  seat_.begin_round(7);
  EXPECT_EQ(seat_.due()->epoch.number, 3U);
  seat_.begin_round(9);
  EXPECT_FALSE(seat_.due());
}

TEST_F(SeatTest, APromisedRoundIsHeldUntilTheViewIsThereOrThePlanWithdrawn) {
  seat_.plan(100);
  seat_.begin_round(3);
  const auto answer = seat_.propose({2, 5});
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->kept);
  EXPECT_EQ(answer->round, 3U);
  seat_.begin_round(4);
  EXPECT_FALSE(seat_.held());
  seat_.begin_gather(5);
  EXPECT_FALSE(seat_.held());
  seat_.begin_round(5);
  EXPECT_TRUE(seat_.held());
  EXPECT_FALSE(seat_.propose({2, wire::kWithdrawn}));
  EXPECT_FALSE(seat_.held());
  EXPECT_TRUE(seat_.propose({3, 6})->kept);
  seat_.begin_round(6);
  EXPECT_TRUE(seat_.held());
  seat_.offer(view(3, round_op(6), {0, 1}));
  EXPECT_FALSE(seat_.held());
}

// Who waits for a member's work outside of ops hears of its end before it takes the view up.
TEST_F(SeatTest, AMemberGoesWhenTheNextRoundIsWithoutIt) {
  seat_.begin_round(3);
  EXPECT_FALSE(seat_.goes(0));
  seat_.offer(view(3, round_op(9), {1, 2}));
  EXPECT_FALSE(seat_.goes(0)) << "it takes part until then";
  seat_.offer(view(4, gather_op(4, 1), {1, 2}));
  EXPECT_TRUE(seat_.goes(0));
  EXPECT_FALSE(seat_.goes(2));
  seat_.begin_round(4);
  seat_.take(*seat_.due());
  EXPECT_FALSE(seat_.goes(0)) << "it is no member";
}

TEST_F(SeatTest, ARoundThatHasBegunIsNotPromised) {
  seat_.plan(10);
  seat_.begin_round(5);
  EXPECT_FALSE(seat_.propose({2, 5})->kept);
  EXPECT_FALSE(seat_.propose({2, 4})->kept);
  EXPECT_FALSE(seat_.held());
  const auto over = seat_.propose({2, 10});
  EXPECT_TRUE(over->over);
  EXPECT_FALSE(over->kept);
}

TEST_F(SeatTest, TicketsAreTheSameForWhoeverComesInLater) {
  auto words = std::make_unique<fabric::AgentWords>();
  Seat late(*words, 2);
  View joined = view(4, gather_op(7, 2), {1, 2});
  joined.joined = {2};
  joined.enters_at = round_op(7);
  seat_.begin_gather(7);
  seat_.begin_gather(7);
  seat_.begin_gather(7);
  seat_.take(joined);
  const fabric::Ticket gather = seat_.attempt(false);
  seat_.begin_round(7);
  const fabric::Ticket round = seat_.attempt(true);
  EXPECT_LT(gather, round);
  late.offer(joined);
  const auto entrance = late.entrance();
  ASSERT_TRUE(entrance);
  late.take(*entrance);
  EXPECT_EQ(late.op(), round_op(7));
  late.begin_round(7);
  EXPECT_EQ(late.attempt(true), round);
}

TEST_F(SeatTest, StandingIsThatOfTheNewestAttempt) {
  seat_.take(view(1, gather_op(0, 0), {0, 1}));
  seat_.begin_gather(0);
  const fabric::Ticket gather = seat_.attempt(false);
  EXPECT_EQ(fabric::standing(*words_).released(), gather_op(0, 0));
  words_->published.store(gather);
  EXPECT_EQ(fabric::standing(*words_).released(), gather_op(0, 0) + 1);
  seat_.begin_round(0);
  const fabric::Ticket round = seat_.attempt(true);
  words_->published.store(round);
  EXPECT_EQ(fabric::standing(*words_).released(), round_op(0));
  words_->finished.store(round);
  EXPECT_EQ(fabric::standing(*words_).released(), round_op(0) + 1);
  seat_.take(view(2, round_op(0), {1}));
  seat_.attempt(true);
  EXPECT_EQ(fabric::standing(*words_).released(), round_op(0));
  EXPECT_EQ(fabric::standing(*words_).view, 2U);
}

}  // namespace
}  // namespace instep::round
