#include "member/lines.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/random.h"
#include "base/text.h"
#include "base/time.h"
#include "member/hosts.h"
#include "member/slices.h"

namespace instep::member {
namespace {

constexpr std::uint64_t kBlocks = 3000;
constexpr double kBytes = 4.0 * 1024 * kBlocks;  // of a round's numbers

// What a host sees whose line carries so many bytes a second, in rounds of so many seconds.
LineSeen seen(double rate, double fraction, std::size_t hosts, double round_s, bool full) {
  return {round_s, kBytes * rounds_worth(fraction, hosts), rate, full, {}};
}

std::vector<Line> three(double last, double round_s, bool full = true) {
  const double third = 1.0 / 3;
  return {{0, third, seen(40e6, third, 3, round_s, false)},
          {1, third, seen(40e6, third, 3, round_s, false)},
          {2, third, seen(last, third, 3, round_s, full)}};
}

TEST(LineMessage, SaysWhatWasSeen) {
  const LineSeen said{0.5, 3e6, 4e7, true, {{2, 1e6}, {5, 2e6}}};
  const wire::HostMeasured message = to_message(6, said);
  EXPECT_EQ(message.number, 6U);
  const LineSeen heard = from_message(message);
  EXPECT_DOUBLE_EQ(heard.round_s, said.round_s);
  EXPECT_EQ(heard.sent, said.sent);
  EXPECT_EQ(heard.rate, said.rate);
  EXPECT_TRUE(heard.full);
  EXPECT_EQ(heard.slow, said.slow);
}

TEST(LineMessage, MayBeOfAnyLengthFromOutside) {
  wire::HostMeasured message;
  message.slow = {2, 5, 7};
  message.slow_rates = {1000};
  EXPECT_EQ(from_message(message).slow, (decltype(LineSeen::slow){{2, 1000}}));
  message.slow.resize(1000);
  message.slow_rates.resize(2000);
  EXPECT_EQ(from_message(message).slow.size(), wire::kMostSlow);
}

TEST(JudgeLines, ReckonsWhatAThinLineCosts) {
  const auto found = judge(three(10e6, 2));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->slowest, 2U);
  EXPECT_EQ(found->bytes_s, 10e6);
  EXPECT_NEAR(found->now_s, kBytes / 10e6 * 4 / 3, 1e-9);
  EXPECT_NEAR(found->next_s, kBytes / 10e6, 1e-9) << "its own sums it has to send";
  EXPECT_NEAR(found->gain(), kBytes / 10e6 / 3 / 2, 1e-9);
}

TEST(JudgeLines, NothingIsKnownOfLinesThatAreNoLimit) {
  EXPECT_FALSE(judge(three(10e6, 2, false)));
  EXPECT_FALSE(
      judge({{0, 0.5, seen(40e6, 0.5, 2, 1, true)}, {1, 0.5, seen(1e6, 0.5, 2, 1, true)}}));
  auto lines = three(10e6, 2);
  lines[1].seen.sent = 0;
  EXPECT_FALSE(judge(lines));
}

TEST(JudgeLines, AThinWayInIsSeenByTheOthers) {
  auto lines = three(30e6, 2, false);
  lines[0].seen.slow = {{2, 4e6}};
  EXPECT_FALSE(judge(lines)) << "one of two: the way between them";
  lines[1].seen.slow = {{2, 6e6}};
  ASSERT_TRUE(judge(lines));
  EXPECT_EQ(judge(lines)->bytes_s, 10e6);
  lines[2].seen.full = true;
  EXPECT_EQ(judge(lines)->bytes_s, 10e6) << "the thinner way counts";
}

// The rest of the round is compute.
TEST(JudgeLines, AThinLineDoesNotMatterWhereRoundsAreLongAnyway) {
  const double line_s = kBytes / 10e6 / 3;  // that could be saved
  EXPECT_GT(judge(three(10e6, line_s / 0.16))->gain(), 0.15);
  EXPECT_LT(judge(three(10e6, line_s / 0.14))->gain(), 0.15);
}

// A run of so many hosts whose lines are measured again and again.
struct Measuring {
  explicit Measuring(std::vector<double> line_rates) : rates(std::move(line_rates)) {
    const auto hosts = std::uint32_t(rates.size());
    state = begin_hosts({1, hosts});
    for (HostId host = 0; host < hosts; ++host) feed(HostJoined{host, cat("h", host), "", 1});
    HostFacts facts;
    facts.shards = hosts;
    facts.blocks = kBlocks;
    for (HostId host = 0; host < hosts; ++host) feed(HostIsReady{host, facts});
    settle();
  }
  void feed(HostsEvent event) {
    HostsDecision decision = decide_hosts(std::move(state), std::move(event), now);
    state = std::move(decision.state);
    for (const HostsAction& action : decision.actions) {
      if (const auto* told = std::get_if<Tell>(&action)) said.push_back(told->text);
      if (std::holds_alternative<Halt>(action)) ++halts;
    }
  }
  // Hosts do what they are asked to.
  void settle() {
    for (HostId host = 0; host < rates.size(); ++host) {
      feed(HostStands{host, state.number, 5});
    }
    for (HostId host = 0; host < rates.size(); ++host) feed(HostTook{host, state.number});
    ASSERT_EQ(state.phase, HostsPhase::kRunning);
  }
  double fraction(HostId host) const {
    return double(part_of(*state.lineup, host)->blocks) / double(kBlocks);
  }
  // As it is with the slices of now, each rate times what `noise` says; all wait for the slowest.
  void measure(const std::function<double()>& noise, double compute_s = 0) {
    now += 2 * kSecond;
    std::vector<double> fractions;
    for (HostId host = 0; host < rates.size(); ++host) fractions.push_back(fraction(host));
    std::vector<double> worths;
    for (const double rate : rates) worths.push_back(rate / kBytes);
    const double exchange = exchange_seconds(worths, fractions);
    const std::uint32_t number = state.number;
    for (HostId host = 0; host < rates.size() && state.phase == HostsPhase::kRunning; ++host) {
      const double mine = rounds_worth(fractions[host], rates.size()) / worths[host];
      const bool full = mine > 0.9 * exchange;
      feed(HostMeasured{
          host, number,
          seen(rates[host] * noise(), fractions[host], rates.size(), exchange + compute_s, full)});
    }
    if (state.phase == HostsPhase::kHalting) settle();
  }

  std::vector<double> rates;
  HostsState state;
  Nanoseconds now = 0;
  int halts = 0;
  std::vector<std::string> said;
};

double exact() { return 1; }

TEST(WeighSlices, AThinHostAddsUpLess) {
  Measuring run({40e6, 40e6, 10e6});
  for (int i = 0; i < 4; ++i) run.measure(exact);
  EXPECT_EQ(run.halts, 0) << "not sure yet";
  run.measure(exact);
  EXPECT_EQ(run.halts, 1);
  EXPECT_EQ(run.fraction(0), 0.5);
  EXPECT_EQ(run.fraction(2), 0);
  ASSERT_EQ(run.said.size(), 1U);
  EXPECT_EQ(run.said[0],
            "host h2 has the slowest line, 10 MB/s, and added up 33 % of the sums for all; it adds "
            "up 0 % from now on, and a round of 1.64 s gets about 0.41 s shorter");
  for (int i = 0; i < 1000; ++i) run.measure(exact);
  EXPECT_EQ(run.halts, 1);
}

TEST(WeighSlices, WhatOneMeasuredUnderAnEarlierLineupDoesNotCount) {
  Measuring run({40e6, 40e6, 10e6});
  for (int i = 0; i < 4; ++i) run.measure(exact);
  run.feed(HostBroken{1});
  run.settle();
  const std::uint32_t number = run.state.number;
  for (HostId host = 0; host < 3; ++host) {
    run.feed(HostMeasured{host, number - 1, three(10e6, 2)[host].seen});
  }
  for (int i = 0; i < 4; ++i) run.measure(exact);
  EXPECT_EQ(run.halts, 1) << "of the broken link";
  run.measure(exact);
  EXPECT_EQ(run.halts, 2);
}

TEST(WeighSlices, OneGoodMeasureAmongBadOnesBeginsAgain) {
  Measuring run({40e6, 40e6, 10e6});
  for (int i = 0; i < 30; ++i) {
    run.rates[2] = i % 5 == 4 ? 40e6 : 10e6;
    run.measure(exact);
  }
  EXPECT_EQ(run.halts, 0);
}

// All lines at once: no measure of one beside the others.
TEST(WeighSlices, RatesThatSwingProveNothing) {
  Measuring run({40e6, 40e6, 10e6});
  for (int i = 0; i < 30; ++i) {
    run.rates = i % 2 == 0 ? std::vector{20e6, 20e6, 10e6} : std::vector{50e6, 50e6, 25e6};
    run.measure(exact);
  }
  EXPECT_EQ(run.halts, 0);
}

TEST(WeighSlices, NowOneAndNowAnotherIsNobody) {
  Measuring run({40e6, 40e6, 40e6});
  for (int i = 0; i < 30; ++i) {
    for (HostId host = 1; host < 3; ++host)
      run.rates[host] = HostId(1 + i % 2) == host ? 10e6 : 40e6;
    run.measure(exact);
  }
  EXPECT_EQ(run.halts, 0);
}

TEST(WeighSlices, NothingWhereTheRoundIsLongAnyway) {
  Measuring run({40e6, 40e6, 10e6});
  for (int i = 0; i < 100; ++i) run.measure(exact, 5);
  EXPECT_EQ(run.halts, 0);
}

TEST(WeighSlices, WhoIsLostTakesItsLineAlong) {
  Measuring run({40e6, 40e6, 40e6, 5e6});
  for (int i = 0; i < 5; ++i) run.measure(exact);
  ASSERT_EQ(run.fraction(3), 0);
  run.feed(HostLost{1, "gone"});
  run.rates[1] = 0;
  for (const HostId host : {0U, 2U, 3U}) run.feed(HostStands{host, run.state.number, 9});
  EXPECT_EQ(run.fraction(0), 0.5);
  EXPECT_EQ(run.fraction(3), 0) << "its line is as thin as before";
}

TEST(WeighSlices, NoiseChangesNothing) {
  for (std::uint64_t seed = 0; seed < 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed);
    Measuring run(std::vector<double>(3 + random.below(6), 1e6 * double(1 + random.below(100))));
    for (int i = 0; i < 300; ++i) {
      run.measure([&random] { return 0.8 + 0.4 * double(random.below(1000)) / 1000; });
    }
    EXPECT_EQ(run.halts, 0);
  }
}

TEST(WeighSlices, NoiseDoesNotHideAThinLineNorMakeItFlap) {
  for (std::uint64_t seed = 0; seed < 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed);
    Measuring run(std::vector<double>(3 + random.below(6), 40e6));
    const HostId thin = HostId(random.below(run.rates.size()));
    run.rates[thin] = 8e6;
    for (int i = 0; i < 300; ++i) {
      run.measure([&random] { return 0.8 + 0.4 * double(random.below(1000)) / 1000; });
    }
    EXPECT_EQ(run.halts, 1);
    EXPECT_EQ(run.fraction(thin), 0);
  }
}

// However lines come and go: each change makes the wait for the next one longer.
TEST(WeighSlices, LinesThatChangeAllTheTimeAreNotFollowed) {
  Measuring run({40e6, 40e6, 40e6, 40e6});
  for (int i = 0; i < 3000; ++i) {  // 100 minutes
    for (HostId host = 0; host < 4; ++host) {
      run.rates[host] = HostId(i / 20 % 4) == host ? 5e6 : 40e6;
    }
    run.measure(exact);
  }
  EXPECT_GE(run.halts, 3);
  EXPECT_LE(run.halts, 9);
}

// It went on to add up nothing, and all others as much more for it, for what was left to gain was
// never 15 %.
TEST(WeighSlices, ALineThatHasRecoveredIsUsedAgain) {
  for (std::uint64_t seed = 0; seed < 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed);
    const auto noise = [&random] { return 0.97 + 0.06 * double(random.below(1000)) / 1000; };
    Measuring run(std::vector<double>(3 + random.below(2), 40e6));
    run.rates[1] = 5e6;
    for (int i = 0; i < 5; ++i) run.measure(noise);
    ASSERT_EQ(run.fraction(1), 0);
    run.rates[1] = 40e6;
    for (int i = 0; i < 100; ++i) run.measure(noise);
    EXPECT_EQ(run.halts, 2);
    for (HostId host = 0; host < run.rates.size(); ++host) {
      EXPECT_NEAR(run.fraction(host), 1 / double(run.rates.size()), 0.001);
    }
  }
}

// At three quarters of the others' rate it would be left out again.
TEST(WeighSlices, ALineThatHasAlmostRecoveredStaysAsItIs) {
  Measuring run({40e6, 5e6, 40e6});
  for (int i = 0; i < 5; ++i) run.measure(exact);
  run.rates[1] = 30e6;
  for (int i = 0; i < 100; ++i) run.measure(exact);
  EXPECT_EQ(run.halts, 1);
  EXPECT_EQ(run.fraction(1), 0);
}

TEST(WeighSlices, ALineThatHasRecoveredIsLeftAloneWhereRoundsAreLongAnyway) {
  Measuring run({40e6, 5e6, 40e6});
  for (int i = 0; i < 5; ++i) run.measure(exact);
  run.rates[1] = 40e6;
  for (int i = 0; i < 100; ++i) run.measure(exact, 2);
  EXPECT_EQ(run.halts, 1);
}

}  // namespace
}  // namespace instep::member
