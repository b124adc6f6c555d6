// What an agent of exchange_bench measures, and where it leaves the figures (exchange.cc says what
// is measured).
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fabric/arena.h"
#include "fabric/host_memory.h"
#include "round/exchange.h"

namespace instep::bench {

enum Mode { kBound, kArena, kOrdinary, kModes };
constexpr std::uint32_t kMostRounds = 4096;

struct Settings {
  std::uint32_t agents = 2, rounds = 30;
  std::uint64_t elements = 0, chunk = 0;
  bool again = false;
};

// In memory that all agents share.
struct Seat {
  alignas(64) std::atomic<std::uint64_t> arrived;
  alignas(64) std::atomic<std::uint32_t> waiting;
  double seconds[kModes][kMostRounds];
};
struct Page {
  Seat seats[fabric::kMaxSlots];
};

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "exchange_bench: %s\n", what.c_str());
  std::_Exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) fail(result.error().message);
  return result.take();
}

class Direct;

// One agent of exchange_bench.
class Agent {
 public:
  Agent(std::uint32_t me, const Settings& settings, Fd control, Fd state, Fd page,
        std::vector<Fd> arenas);
  ~Agent();
  void run();

 private:
  // One exchange over a tensor of `elements`, its gradient at `gradient`, the result at `result`.
  struct Line {
    std::unique_ptr<Direct> update;
    std::unique_ptr<round::Exchange> exchange;
    reduce::Range slice;
  };
  Line line(std::uint64_t elements, float* result, std::span<const std::byte> mine);
  void publish(Line& line, std::uint64_t offset, std::uint64_t my_offset);
  void finish(Line& line);
  void barrier();
  void write_gradient(float* to, std::uint32_t round) const;
  void check(const float* result, std::uint32_t round) const;
  void bound();
  void ordinary();

  const std::uint32_t me_;
  const Settings settings_;
  fabric::Mapping control_map_, state_map_, page_map_;
  std::vector<fabric::Mapping> maps_;
  std::vector<std::span<const std::byte>> arenas_;
  std::unique_ptr<fabric::Arena> arena_;
  Page* page_ = nullptr;
  float *gradient_ = nullptr, *result_ = nullptr;
  float *chunk_gradient_[2] = {}, *chunk_result_[2] = {};
  std::span<std::byte> private_;
  float *private_gradient_ = nullptr, *private_result_ = nullptr;
  std::uint64_t mail_[2] = {};  // offsets in the arena, and in private memory likewise
  Line whole_, chunk_[2];
  std::uint32_t spins_ = 4000;
  std::uint64_t ticket_ = 0, barriers_ = 0;
};

}  // namespace instep::bench
