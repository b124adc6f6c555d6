// instep-sim: simulated clusters from seeds.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "simulate.h"

namespace {

constexpr const char* kUsage =
    "instep-sim [--seeds N] [--from SEED] [--rounds R]   N runs, from that seed on\n"
    "instep-sim --seed SEED [--rounds R]                 one run, told event by event\n"
    "  --hosts N      of so many hosts, 2 to 4, that train together\n"
    "  --plant NAME   with a bug planted, as the tests of the simulator have them\n";

[[noreturn]] void usage(const std::string& what) {
  std::fprintf(stderr, "instep-sim: %s\n%s", what.c_str(), kUsage);
  std::exit(2);
}

std::uint64_t number(const char* option, const char* text) {
  std::uint64_t value = 0;
  const char* end = text == nullptr ? nullptr : text + std::strlen(text);
  if (text == nullptr) usage(std::string(option) + " needs a number");
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end) {
    usage(std::string(option) + " needs a number, and '" + text + "' is none");
  }
  return value;
}

}  // namespace

using instep::sim::command;
using instep::sim::Counts;
using instep::sim::name_of;
using instep::sim::Options;
using instep::sim::Plant;
using instep::sim::Report;
using instep::sim::simulate;

int main(int argc, char** argv) {
  Options options;
  std::uint64_t seeds = 100;
  bool one = false;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--help" || option == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (option == "--seeds") {
      seeds = number("--seeds", value);
    } else if (option == "--seed") {
      options.seed = number("--seed", value);
      one = true;
    } else if (option == "--from") {
      options.seed = number("--from", value);
    } else if (option == "--rounds") {
      options.rounds = number("--rounds", value);
      if (options.rounds < 1) usage("--rounds is 1 or more");
    } else if (option == "--hosts") {
      const std::uint64_t hosts = number("--hosts", value);
      if (hosts < 1 || hosts > 4) usage("--hosts is 1 to 4");
      options.hosts = static_cast<std::uint32_t>(hosts);
    } else if (option == "--plant") {
      const Plant none = Plant::kNone;
      for (int plant = 1; plant <= static_cast<int>(Plant::kLast); ++plant) {
        if (value != nullptr && std::string_view(name_of(static_cast<Plant>(plant))) == value) {
          options.plant = static_cast<Plant>(plant);
        }
      }
      if (options.plant == none) usage("--plant needs the name of a bug");
    } else {
      usage("no option '" + std::string(option) + "'");
    }
  }
  options.trace = one;
  if (one) seeds = 1;
  std::uint64_t rounds = 0, faults = 0, failed = 0, events = 0;
  Counts counts;
  for (std::uint64_t i = 0; i < seeds; ++i, ++options.seed) {
    const Report report = simulate(options);
    rounds += report.rounds;
    faults += report.faults;
    events += report.events;
    counts.add(report.counts);
    if (!report.violation.empty()) {
      ++failed;
      std::printf("seed %llu: %s\n  shown again by: %s\n",
                  static_cast<unsigned long long>(options.seed), report.violation.c_str(),
                  command(options).c_str());
      std::fflush(stdout);
    }
    if (one) std::printf("hash %016llx\n", static_cast<unsigned long long>(report.hash));
  }
  for (const auto& [what, times] : counts.of) {
    if (!what.empty())
      std::printf("%10llu  %s\n", static_cast<unsigned long long>(times), what.c_str());
  }
  std::printf("%llu runs, %llu rounds, %llu faults, %llu events: %llu failed\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(faults), static_cast<unsigned long long>(events),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
