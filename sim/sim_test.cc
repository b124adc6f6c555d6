// Clusters from seeds: nothing that must not be is, and nothing is left untried.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/text.h"
#include "simulate.h"

namespace instep::sim {
namespace {

// A half. The sanitizers look at every step, and need no more than each kind of step once.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kSeeds = 50;
constexpr bool kAll = false;
#else
constexpr std::uint64_t kSeeds = 1000;
constexpr bool kAll = true;
#endif
constexpr std::uint64_t kRounds = 200, kFaults = 5;

// The phases that a turn and an exchange stand in before a step, and those that a run passes
// through; the last phases of both are left by no step.
const std::vector<std::string>& wanted() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> out;
    for (int phase = 0; phase < 10; ++phase) out.push_back(cat("Turn phase ", phase));
    for (int phase = 0; phase < 8; ++phase) out.push_back(cat("Exchange phase ", phase));
    for (const char* name : {"member phase 0 to 1",
                             "member phase 1 to 2",
                             "member phase 1 to 3",
                             "member phase 2 to 3",
                             "member phase 3 to 5",
                             "fault kill",
                             "fault kill two",
                             "fault kill all",
                             "fault kill torn",
                             "fault kill at a point",
                             "fault kill a joiner",
                             "fault stop",
                             "fault stop torn",
                             "fault hang",
                             "fault suspend",
                             "fault stall",
                             "fault leave",
                             "fault scale",
                             "fault kill the coordinator",
                             "fault stall the coordinator",
                             "fault split",
                             "split one way",
                             "split both ways",
                             "coordinator killed heard",
                             "coordinator killed decided",
                             "coordinator killed torn",
                             "coordinator killed recorded",
                             "coordinator killed sent",
                             "coordinator killed begun",
                             "coordinators that go on",
                             "torn entries cut off",
                             "replies heard twice",
                             "killed in the midst of stores",
                             "stopped in the midst of stores",
                             "joiners killed",
                             "units found stamped",
                             "gather repeated",
                             "evicted",
                             "books taken",
                             "plans withdrawn",
                             "entered",
                             "left",
                             "told: waiting",
                             "told: paused",
                             "told: hung",
                             "views with newcomers"}) {
      out.emplace_back(name);
    }
    for (const char* point :
         {"round.begin", "round.booked", "round.attempt", "round.settled", "round.shard",
          "round.posted", "round.done", "gather.begin", "gather.attempt", "gather.settled",
          "gather.posted", "gather.done", "view.take", "view.taken", "book.before_commit",
          "book.after_commit", "join.view", "join.book"}) {
      out.push_back(cat("killed at ", point));
    }
    return out;
  }();
  return kNames;
}

// The same of runs of several hosts.
constexpr const char* kOfHosts[] = {"fault break a link",
                                    "fault break two links",
                                    "fault partition",
                                    "fault bridge stands still",
                                    "fault suspend a host",
                                    "fault kill a host",
                                    "fault kill the first host",
                                    "fault lose a machine",
                                    "fault leave as a host",
                                    "fault long partition",
                                    "fault suspend a host for long",
                                    "fault stop all hosts",
                                    "partitions one way",
                                    "partitions of one and all",
                                    "partitions of two",
                                    "links broken in a line-up",
                                    "links broken in the first line-up",
                                    "links fallen silent",
                                    "line-ups",
                                    "line-ups with a donor",
                                    "halts",
                                    "halts without a host",
                                    "hosts lost",
                                    "hosts refused",
                                    "orphaned",
                                    "runs that all have done",
                                    "fault join as a host",
                                    "states taken",
                                    "hosts refused that came late",
                                    "waits for hosts",
                                    "waits in vain",
                                    "waits that hosts ended, or a stop",
                                    "hosts that come in a wait",
                                    "in a wait: stop all hosts",
                                    "in a wait: kill the first host"};

void run_seeds(std::uint64_t from) {
  Counts counts;
  for (std::uint64_t seed = from; seed < from + kSeeds; ++seed) {
    const Options options{seed, kRounds};
    const Report report = simulate(options);
    ASSERT_EQ(report.violation, "") << command(options);
    const bool stopped = report.rounds < kRounds;
    EXPECT_TRUE(stopped || report.faults >= kFaults) << command(options);
    counts.add(report.counts);
    if (seed % 50 != 0) continue;
    EXPECT_EQ(simulate(options).hash, report.hash) << "another history: " << command(options);
  }
  if (!kAll) return;
  for (const std::string& what : wanted()) EXPECT_GT(counts.of[what], 0U) << what;
}

TEST(Simulator, FirstThousand) { run_seeds(1); }
TEST(Simulator, SecondThousand) { run_seeds(1 + kSeeds); }

// Hosts that train together.
TEST(Simulator, Hosts) {
  Counts counts;
  for (std::uint64_t seed = 1; seed <= (kAll ? 300 : 12); ++seed) {
    const Options options{seed, kRounds, 2 + static_cast<std::uint32_t>(seed % 3)};
    const Report report = simulate(options);
    ASSERT_EQ(report.violation, "") << command(options);
    counts.add(report.counts);
    if (seed % 40 != 0) continue;
    EXPECT_EQ(simulate(options).hash, report.hash) << "another history: " << command(options);
  }
  if (!kAll) return;
  for (const char* what : kOfHosts) EXPECT_GT(counts.of[what], 0U) << what;
}

// Each planted bug is found.
class Planted : public testing::TestWithParam<int> {};

TEST_P(Planted, IsFound) {
  Options options;
  options.plant = static_cast<Plant>(GetParam());
  constexpr std::uint64_t kMost = 1500;
  for (options.seed = 1; options.seed <= kMost; ++options.seed) {
    if (options.plant >= Plant::kFirstOfHosts) options.hosts = 2 + options.seed % 3;
    const Report report = simulate(options);
    if (report.violation.empty()) continue;
    std::printf("%s: seed %llu: %s\n  %s\n", name_of(options.plant),
                static_cast<unsigned long long>(options.seed), report.violation.c_str(),
                command(options).c_str());
    RecordProperty("seed", std::to_string(options.seed));
    return;
  }
  ADD_FAILURE() << kMost << " seeds do not find it";
}

INSTANTIATE_TEST_SUITE_P(Bugs, Planted, testing::Range(1, static_cast<int>(Plant::kLast) + 1),
                         [](const testing::TestParamInfo<int>& bug) {
                           std::string name = name_of(static_cast<Plant>(bug.param));
                           std::string out;
                           bool upper = true;
                           for (const char c : name) {
                             if (c == '-') {
                               upper = true;
                             } else {
                               out += upper ? static_cast<char>(std::toupper(c)) : c;
                               upper = false;
                             }
                           }
                           return out;
                         });

}  // namespace
}  // namespace instep::sim
