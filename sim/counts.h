// What a simulation came across, so that a test can see that nothing is left untried.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace instep::sim {

struct Counts {
  std::map<std::string, std::uint64_t> of;
  void note(const std::string& what, std::uint64_t times = 1) { of[what] += times; }
  void add(const Counts& other) {
    for (const auto& [what, times] : other.of) of[what] += times;
  }
};

}  // namespace instep::sim
