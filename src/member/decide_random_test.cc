#include <gtest/gtest.h>
#include <signal.h>

#include <set>

#include "base/random.h"
#include "member/decide.h"
#include "member/testing.h"

namespace instep::member {
namespace {

// Whatever happens in whatever order: the run is over only when everybody has exited; and if
// whoever is started dies, it is over after a while.
TEST(Decide, RandomHistoriesEnd) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Driver driver(static_cast<std::uint32_t>(1 + random.below(4)));
    if (random.below(2) == 0) driver.to_running();
    std::set<AgentId> living;
    for (AgentId k = 0; k < driver.count(); ++k) living.insert(k);
    const auto exit_one = [&](AgentId agent, int code, int signal) {
      living.erase(agent);
      driver.feed(Exited{agent, code, signal});
    };
    std::size_t obeyed = driver.all.size();
    const auto obey = [&] {
      for (; obeyed < driver.all.size(); ++obeyed) {
        const Action action = driver.all[obeyed];
        if (const auto* started = std::get_if<Start>(&action)) {
          EXPECT_TRUE(living.insert(started->agent).second);
        } else if (std::holds_alternative<TakeBook>(action)) {
          EXPECT_TRUE(living.empty());
          driver.feed(BookTaken{random.below(2) == 0 ? std::nullopt : std::optional(7ULL)});
        } else if (const auto* it = std::get_if<Signal>(&action)) {
          if (it->signal == SIGKILL && living.contains(it->agent)) exit_one(it->agent, 0, SIGKILL);
        }
      }
    };
    const auto random_agent = [&] {
      return static_cast<AgentId>(random.below(std::uint64_t(driver.count())));
    };
    for (int step = 0; step < 30 && driver.state.phase != Phase::kOver; ++step) {
      const AgentId agent = random_agent();
      switch (random.below(13)) {
        case 0:
          driver.hear(agent, hello(agent));
          break;
        case 1:
          driver.hear(agent, ready());
          break;
        case 2:
          driver.hear(agent, wire::Done{"{}"});
          break;
        case 3:
          driver.hear(agent, wire::Progress{"note", "{}"});
          break;
        case 4:
          driver.feed(Prepared{});
          break;
        case 5:
          driver.feed(LinkEnded{agent, random.below(2) == 0 ? "" : "cut"});
          break;
        case 6:
          driver.pass(Nanoseconds(random.below(3'000)) * kMillisecond);
          break;
        case 7:
          driver.feed(StopAsked{"x", random.below(2) == 0, false});
          break;
        case 8:
          driver.hear(agent, wire::Failed{int(random.below(9)), "m"});
          break;
        case 9:
          driver.hear(agent, wire::Leaving{});
          break;
        case 10:
          driver.feed(ScaleAsked{static_cast<std::uint32_t>(random.below(7))});
          break;
        case 11: {
          const auto plan = driver.state.plan.value_or(Plan{});
          driver.hear(agent, wire::Promise{plan.number, random.below(4) != 0, random.below(9) == 0,
                                           plan.round});
          break;
        }
        default:
          if (living.contains(agent))
            exit_one(agent, int(random.below(2)), int(random.below(2)) * 9);
      }
      obey();
      EXPECT_TRUE(driver.state.phase != Phase::kOver || living.empty());
    }
    // The rest die, whatever they did before.
    for (int k = 0; k < 100 && driver.state.phase != Phase::kOver; ++k) {
      if (!living.empty()) exit_one(*living.begin(), 0, SIGKILL);
      obey();
    }
    EXPECT_EQ(driver.state.phase, Phase::kOver);
    EXPECT_NE(driver.state.outcome.reason, Reason::kNone);
    EXPECT_FALSE(describe(driver.state.outcome).empty());
  }
}

}  // namespace
}  // namespace instep::member
