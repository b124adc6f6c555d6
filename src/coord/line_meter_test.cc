#include "coord/line_meter.h"

#include <gtest/gtest.h>

#include "base/time.h"
#include "wire/host_message.h"

namespace instep::coord {
namespace {

constexpr std::int64_t kLookMs = 50;

// Links to hosts 1 to `links`, and what goes over them.
struct Line {
  explicit Line(std::uint32_t links) {
    for (std::uint32_t host = 1; host <= links; ++host) {
      flows[host].least_round_trip_us = host * 1000;
    }
    meter.begin(0);
    look();
  }
  void look() { meter.look(now_ms * kMillisecond, flows); }
  // A link carries so many bytes in the next window, with more waiting behind them or not.
  void carry(std::uint32_t host, std::uint64_t bytes, bool more, std::uint64_t busy_ms = kLookMs) {
    flows[host].acked_bytes += bytes;
    flows[host].busy_us += busy_ms * 1000;
    flows[host].waiting_bytes = more ? 1 : 0;
  }
  void pass() {
    now_ms += kLookMs;
    look();
  }
  // The report after so many windows, each of which `each` makes, and two rounds.
  template <class Each>
  LineReport after(int windows, const Each& each) {
    for (int i = 0; i < windows; ++i) {
      each(i);
      pass();
      if (i > 0) continue;
      EXPECT_FALSE(meter.round_done(now_ms * kMillisecond));
    }
    auto report = meter.round_done(now_ms * kMillisecond);
    EXPECT_TRUE(report) << "after " << windows;
    return report.value_or(LineReport{});
  }

  LineMeter meter;
  LineMeter::Flows flows;
  std::int64_t now_ms = 0;
};

TEST(LineMeter, AFullLine) {
  Line line(2);
  line.flows[1].waiting_bytes = line.flows[2].waiting_bytes = 1;
  const LineReport report = line.after(40, [&](int) {
    line.carry(1, 30'000, true);
    line.carry(2, 20'000, true);
  });
  EXPECT_TRUE(report.line.full);
  EXPECT_NEAR(report.line.rate, 1e6, 1);
  EXPECT_NEAR(report.line.sent, 1e6, 1);  // a round, of two
  EXPECT_NEAR(report.line.round_s, 1, 1e-9);
  EXPECT_TRUE(report.line.slow.empty());
  ASSERT_EQ(report.links.size(), 2U);
  EXPECT_EQ(report.links[1].host, 2U);
  EXPECT_NEAR(report.links[1].rate.value(), 400'000, 1);
  EXPECT_NEAR(report.links[1].round_trip_s, 0.002, 1e-12);
}

// What a sender has given to the kernel may all be on its way: then it lies in a queue there.
TEST(LineMeter, AQueueOnTheWayIsALineThatIsFull) {
  Line line(1);
  line.flows[1].round_trip_us = 90'000;
  EXPECT_TRUE(line.after(40, [&](int) { line.carry(1, 30'000, false); }).line.full);
  line.flows[1].round_trip_us = 1900;
  EXPECT_FALSE(line.after(40, [&](int) { line.carry(1, 30'000, false); }).line.full)
      << "little goes a long way";
}

TEST(LineMeter, ALineThatIsNotFullHasCarriedWhatItHas) {
  Line line(2);
  const LineReport report = line.after(40, [&](int i) {
    line.carry(1, i == 7 ? 500'000 : 1000, false, 2);
    line.carry(2, 1000, false, 2);
  });
  EXPECT_FALSE(report.line.full);
  EXPECT_NEAR(report.line.rate, 501'000 / 0.05, 1);
  EXPECT_TRUE(report.line.slow.empty());
}

TEST(LineMeter, AFewFullWindowsSayNothing) {
  Line line(1);
  const LineReport report = line.after(40, [&](int i) { line.carry(1, 1000, i >= 10 && i < 15); });
  EXPECT_FALSE(report.line.full);
}

TEST(LineMeter, ALinkThatIsFullAloneIsSlowForItself) {
  Line line(3);
  line.flows[3].waiting_bytes = 1;
  const LineReport report = line.after(40, [&](int) {
    line.carry(1, 1'000'000, false, 5);
    line.carry(2, 1'000'000, false, 5);
    line.carry(3, 10'000, true);
  });
  EXPECT_FALSE(report.line.full);
  ASSERT_EQ(report.line.slow.size(), 1U);
  EXPECT_EQ(report.line.slow[0].first, 3U);
  EXPECT_NEAR(report.line.slow[0].second, 200'000, 1);
}

TEST(LineMeter, WhoTakesNothingInIsNoMeasureOfALine) {
  Line line(1);
  line.flows[1].waiting_bytes = 1;
  const LineReport report = line.after(40, [&](int) {
    line.carry(1, 10'000, true);
    line.flows[1].held_us += 40'000;
  });
  EXPECT_FALSE(report.line.full);
}

TEST(LineMeter, ALinkThatIsMadeAnewBeginsToCountAnew) {
  Line line(1);
  const LineReport report = line.after(40, [&](int i) {
    if (i == 20) line.flows[1] = {};
    line.carry(1, 1000, false, 1);
  });
  EXPECT_NEAR(report.line.sent, 39 * 1000 / 2.0, 1);
  EXPECT_NEAR(report.line.rate, 20'000, 1);
}

TEST(LineMeter, AReportIsOfWholeRoundsAndNotTooShort) {
  Line line(1);
  line.after(40, [&](int) { line.carry(1, 1000, false, 1); });
  for (int i = 0; i < 39; ++i) {
    line.carry(1, 2000, false, 1);
    line.pass();
    EXPECT_FALSE(line.meter.round_done(line.now_ms * kMillisecond))
        << "two seconds have not passed";
  }
  line.pass();
  const auto report = line.meter.round_done(line.now_ms * kMillisecond);
  ASSERT_TRUE(report);
  EXPECT_NEAR(report->line.sent, 39 * 2000 / 40.0, 1) << "nothing of the first two rounds";
  EXPECT_NEAR(report->line.round_s, 0.05, 1e-9);
}

TEST(LineMeter, ALinkThatIsHardlyBusyHasNoRate) {
  Line line(2);
  const LineReport report = line.after(40, [&](int i) {
    line.carry(1, 1000, false, i == 0 ? 19 : 0);
    line.carry(2, 1000, false, i == 0 ? 20 : 0);
  });
  EXPECT_FALSE(report.links[0].rate);
  EXPECT_NEAR(report.links[1].rate.value(), 2e6, 1);
}

TEST(LineMeter, OfVeryManyTheSlowestAreNamed) {
  Line line(100);
  for (auto& [host, flow] : line.flows) flow.waiting_bytes = 1;
  const LineReport report = line.after(40, [&](int) {
    for (std::uint32_t host = 1; host < 100; ++host) line.carry(host, host * 100, true);
    line.carry(100, 1, false, 1);
  });
  ASSERT_EQ(report.line.slow.size(), wire::kMostSlow);
  EXPECT_EQ(report.line.slow.front().first, 1U);
  EXPECT_EQ(report.line.slow.back().first, std::uint32_t(wire::kMostSlow));
}

}  // namespace
}  // namespace instep::coord
