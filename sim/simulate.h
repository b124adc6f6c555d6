// One run of a whole cluster on one thread and on virtual time: everything that happens follows
// from the seed.
#pragma once

#include <cstdint>
#include <string>

#include "counts.h"
#include "plant.h"

namespace instep::sim {

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t rounds = 200;
  std::uint32_t hosts = 1;
  Plant plant = Plant::kNone;
  bool trace = false;  // every event goes to stdout
};

struct Report {
  std::string violation;     // empty: all is as it must be
  std::uint64_t rounds = 0;  // done
  std::uint64_t faults = 0;  // injected
  std::uint64_t hash = 0;    // of everything that happened
  std::int64_t time_ns = 0;  // virtual
  std::uint64_t events = 0;
  Counts counts;
};

Report simulate(const Options& options);
// What shows it again.
std::string command(const Options& options);

}  // namespace instep::sim
