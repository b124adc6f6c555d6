#include "round/turn.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

namespace instep::round {
namespace {

// No more than what a turn asks for before its round begins.
class Idle : public Turn::Agent {
 public:
  Result<std::vector<std::uint32_t>> take_up(bool /*in_round*/) override {
    return std::vector<std::uint32_t>();
  }
  void begin_round() override {}
  Status compute(std::uint32_t) override { return {}; }
  void will_compute(const std::vector<std::uint32_t>&) override {}
  const std::vector<std::uint32_t>& shards() const override { return none_; }
  std::optional<Posted> open_round(fabric::Ticket, bool) override { return std::nullopt; }
  Posted post_round(fabric::Ticket, bool) override { return {}; }
  Judging judging() override { return {}; }
  Update* update() override { return nullptr; }
  Result<Posted> post_gather(fabric::Ticket ticket, bool first) override {
    firsts.push_back(first);
    return Posted{ticket, 5, 0, 0};
  }
  Exchange& exchange() override { return *exchange_; }
  void exchange_under(const member::View& view, fabric::ControlPage& control) {
    Setup setup;
    setup.view = view;
    setup.control = &control;
    setup.arenas.resize(view.members.size());
    exchange_ = std::make_unique<Exchange>(std::move(setup));
  }

  std::vector<bool> firsts;  // of each gather that was posted

 private:
  std::vector<std::uint32_t> none_;
  std::unique_ptr<Exchange> exchange_;
};

// Agents that waited at a round, as for more agents to come, kept a processor busy all the while.
TEST(Turn, WhoIsHeldSleepsUntilThereIsNews) {
  const auto control = std::make_unique<fabric::ControlPage>();
  Seat seat(control->agents[0], 0);
  Idle agent;
  Turn turn(seat, agent);
  ASSERT_TRUE(seat.propose({7, 5})->kept);
  turn.begin_round(5);
  EXPECT_EQ(turn.step(), Turn::Step::kWaitNews);
  EXPECT_FALSE(seat.news());
  EXPECT_FALSE(seat.propose({7, wire::kWithdrawn}));
  EXPECT_TRUE(seat.news());
  EXPECT_EQ(turn.step(), Turn::Step::kAgain);
  EXPECT_EQ(turn.phase(), Turn::Phase::kTake);
}

// Two deaths in one gather that is made again by the program: who heard of them one by one went one
// op further than who heard of both at once, and each waited for the other.
TEST(Turn, AGatherThatIsMadeAgainIsTheSameOp) {
  const auto control = std::make_unique<fabric::ControlPage>();
  Seat seat(control->agents[0], 0);
  Idle agent;
  Turn turn(seat, agent);
  seat.take(member::assign({1, 1}, 0, {0, 1, 2, 3}, 4, 4, member::Owners::kAll, 0));
  member::Op op = 0;
  for (std::uint32_t number = 2; number < 4; ++number) {
    turn.begin_gather(5, false);
    if (number == 2) op = seat.op();
    EXPECT_EQ(seat.op(), op);
    seat.offer(member::without(seat.view(), {static_cast<member::AgentId>(number)}, {1, number},
                               seat.op()));
    EXPECT_EQ(turn.step(), Turn::Step::kOthers);
  }
}

// Somebody may still read the mail of the round before, and there is room for two ops: a gather
// that is made again must not take that mail's place.
TEST(Turn, AGatherThatIsMadeAgainIsPostedWhereItWas) {
  const auto control = std::make_unique<fabric::ControlPage>();
  Seat seat(control->agents[0], 0);
  Idle agent;
  Turn turn(seat, agent);
  seat.take(member::assign({1, 1}, 0, {0, 1}, 4, 4, member::Owners::kAll, 0));
  agent.exchange_under(seat.view(), *control);
  turn.begin_gather(5, false);
  while (turn.step() != Turn::Step::kWaitWord) {
  }
  seat.offer(member::without(seat.view(), {1}, {1, 2}, seat.op()));
  while (turn.step() != Turn::Step::kOthers) {
  }
  turn.begin_gather(5, false);
  while (agent.firsts.size() < 2) turn.step();
  EXPECT_EQ(agent.firsts, (std::vector<bool>{true, false}));
  turn.begin_gather(5, false);
  while (agent.firsts.size() < 3) turn.step();
  EXPECT_TRUE(agent.firsts[2]) << "the next one is another op";
}

}  // namespace
}  // namespace instep::round
