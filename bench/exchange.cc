// What one exchange costs, beside the memory-bandwidth bound of its traffic.
//
//   exchange_bench --agents N --kib SIZE --rounds R [--chunk-kib C]
//
// Starts N agents (itself again, by exec), each pinned to a processor, over the shared files that
// the launcher makes. They run the product's round::Exchange over one tensor, S = N, and in turn
//   arena      the gradient lies in the arena, the result is used where it is;
//   ordinary   it is copied into the arena from private memory and the result out again, chunk by
//              chunk, so that what is shared stays in cache;
//   bound      what `arena` reads and writes without any protocol: every agent reads its slice of
//              all gradients and writes its slice of the result around the cache.
// Before each of them every agent writes its gradient anew (a backward() just has), and all start
// together. Prints one JSON object: seconds of each round and agent.
#include <fcntl.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/text.h"
#include "fabric/arena.h"
#include "fabric/wait.h"
#include "round/exchange.h"

namespace {

using namespace instep;  // NOLINT: a program, not a header
using reduce::kBlockElements;

enum Mode { kArena, kOrdinary, kBound, kModes };
constexpr const char* kNames[kModes] = {"arena", "ordinary", "bound"};
constexpr std::uint32_t kMostRounds = 4096;
constexpr std::uint64_t kUnitElements = 32 * kBlockElements;  // as sync/owner_update.h
constexpr std::uint64_t kStreamed = 1 << 20;  // bytes of a result that are written around the cache

struct Settings {
  std::uint32_t agents = 2, rounds = 30;
  std::uint64_t elements = 0, chunk = 0;
};

struct Seat {
  alignas(64) std::atomic<std::uint32_t> arrived;
  alignas(64) std::atomic<std::uint32_t> waiting;
  double seconds[kModes][kMostRounds];
};
struct Page {
  Seat seats[fabric::kMaxSlots];
};

double now() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "exchange_bench: %s\n", what.c_str());
  std::_Exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) fail(result.error().message);
  return result.take();
}

// The result is written where everybody reads it.
class Direct : public round::Update {
 public:
  Direct(float* result, std::vector<reduce::Range> units, bool streams)
      : result_(result), units_(std::move(units)), streams_(streams) {}
  float* target(std::size_t unit) override { return result_ + units_[unit].begin; }
  bool streams() const override { return streams_; }
  void apply(std::size_t /*unit*/, float /*factor*/) override {}
  void carry(std::size_t /*unit*/) override {}

 private:
  float* result_;
  std::vector<reduce::Range> units_;
  bool streams_;
};

class Agent {
 public:
  Agent(std::uint32_t me, const Settings& settings, Fd control, Fd state, Fd page,
        std::vector<Fd> arenas);
  void run();

 private:
  // One exchange over a tensor of `elements`, its gradient at `gradient`, the result at `result`.
  struct Line {
    std::unique_ptr<Direct> update;
    std::unique_ptr<round::Exchange> exchange;
    reduce::Range slice;
  };
  Line line(std::uint64_t elements, float* result);
  void publish(Line& line, const float* gradient);
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
  float *private_gradient_ = nullptr, *private_result_ = nullptr;
  std::byte* mail_[2] = {};
  Line whole_, chunk_[2];
  round::Runner runner_;
  std::uint32_t ticket_ = 0, barriers_ = 0;
};

float* private_memory(std::uint64_t elements) {
  void* at = ::mmap(nullptr, elements * sizeof(float), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) fail("no memory");
  return static_cast<float*>(at);
}

Agent::Agent(std::uint32_t me, const Settings& settings, Fd control, Fd state, Fd page,
             std::vector<Fd> arenas)
    : me_(me), settings_(settings) {
  control_map_ = must(fabric::Mapping::map(control, true));
  state_map_ = must(fabric::Mapping::map(state, true));
  page_map_ = must(fabric::Mapping::map(page, true));
  page_ = reinterpret_cast<Page*>(page_map_.data());
  for (std::size_t slot = 0; slot < arenas.size(); ++slot) {
    maps_.push_back(must(fabric::Mapping::map(arenas[slot], slot == me)));
    arenas_.emplace_back(maps_.back().data(), maps_.back().size());
  }
  arena_ = std::make_unique<fabric::Arena>(std::span(maps_[me].data(), maps_[me].size()));
  const auto take = [this](std::uint64_t elements) {
    auto* at = static_cast<float*>(arena_->take(elements * sizeof(float)));
    std::memset(at, 0, elements * sizeof(float));
    return at;
  };
  // Every agent takes the same blocks in the same order, so the gradients lie at equal offsets.
  gradient_ = take(settings.elements);
  for (float*& at : chunk_gradient_) at = take(settings.chunk);
  for (std::byte*& at : mail_) at = reinterpret_cast<std::byte*>(take(1024));
  private_gradient_ = private_memory(settings.elements);
  private_result_ = private_memory(settings.elements);
  result_ = reinterpret_cast<float*>(state_map_.data());
  chunk_result_[0] = result_ + settings.elements;
  chunk_result_[1] = chunk_result_[0] + settings.chunk;
  whole_ = line(settings.elements, result_);
  for (int i = 0; i < 2; ++i) chunk_[i] = line(settings.chunk, chunk_result_[i]);
  runner_.spins = settings.agents > std::thread::hardware_concurrency() ? 100 : 20000;  // as Engine
}

Agent::Line Agent::line(std::uint64_t elements, float* result) {
  round::Setup setup;
  std::vector<member::AgentId> agents;
  for (std::uint32_t i = 0; i < settings_.agents; ++i) agents.push_back(static_cast<int>(i));
  setup.view = member::assign({1, 0}, 0, agents, settings_.agents, elements / kBlockElements,
                              member::Owners::kAll, 1);
  setup.me = static_cast<int>(me_);
  setup.shards = settings_.agents;
  setup.full_samples = 1;
  reduce::FlatSpace space;
  space.begin_group();
  setup.tensors = {space.add(elements)};
  space.finish();
  Line made;
  for (const member::Slice& slice : setup.view.slices) {
    if (slice.owner != setup.me) continue;
    setup.units = reduce::cut_units(space, slice.first_block, slice.blocks, kUnitElements);
    made.slice = {slice.first_block * kBlockElements, slice.blocks * kBlockElements};
  }
  setup.control = fabric::control_page(control_map_);
  setup.arenas = arenas_;
  made.update =
      std::make_unique<Direct>(result, setup.units, elements * sizeof(float) >= kStreamed);
  made.exchange = std::make_unique<round::Exchange>(std::move(setup));
  return made;
}

void Agent::publish(Line& line, const float* gradient) {
  ++ticket_;
  const round::ShardRow row{me_, 1, 0.0};
  const reduce::Node node{me_, 1};
  const std::uint64_t offset = arena_->offset(gradient);
  round::Part part;
  part.rows = {&row, 1};
  part.nodes = {&node, 1};
  part.offsets = {&offset, 1};
  std::byte* mail = mail_[ticket_ & 1];
  round::write_part(part, mail);
  line.exchange->begin({ticket_, 0, arena_->offset(mail), round::part_bytes(part)}, {},
                       line.update.get());
  line.exchange->step();  // publishes
}

void Agent::finish(Line& line) {
  if (const Status status = runner_.run(*line.exchange); !status.ok()) fail(status.error().message);
}

void Agent::barrier() {
  ++barriers_;
  Seat& mine = page_->seats[me_];
  fabric::publish(mine.arrived, barriers_);
  fabric::wake(mine.arrived);
  for (std::uint32_t i = 0; i < settings_.agents; ++i) {
    while (!fabric::wait_at_least(page_->seats[i].arrived, barriers_, mine.waiting,
                                  {runner_.spins, 20})) {
    }
  }
}

void Agent::write_gradient(float* to, std::uint32_t round) const {
  const auto base = static_cast<float>(round * settings_.agents + me_);
  for (std::uint64_t i = 0; i < settings_.elements; ++i) {
    to[i] = base + static_cast<float>(static_cast<int>(i & 1023));
  }
}

void Agent::check(const float* result, std::uint32_t round) const {
  float base = 0;
  for (std::uint32_t i = 0; i < settings_.agents; ++i) {
    base += static_cast<float>(round * settings_.agents + i) /
            static_cast<float>(settings_.agents);
  }
  for (std::uint64_t i = 0; i < settings_.elements; ++i) {
    const float due = base + static_cast<float>(i & 1023);
    if (std::abs(result[i] - due) > 1e-3F) {
      fail(cat("element ", i, " is ", result[i], " and not ", due));
    }
  }
}

// A result that is used much later is written around the cache.
void copy_streamed(float* to, const float* from, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; i += 8) _mm256_stream_ps(to + i, _mm256_load_ps(from + i));
}

// The traffic alone: sums the agents' slices and streams the sum.
void Agent::bound() {
  const reduce::Range& slice = whole_.slice;
  const std::uint64_t offset = arena_->offset(gradient_);
  const float* from[fabric::kMaxSlots];
  for (std::uint32_t a = 0; a < settings_.agents; ++a) {
    from[a] = reinterpret_cast<const float*>(arenas_[a].data() + offset) + slice.begin;
  }
  float* to = result_ + slice.begin;
  if (settings_.agents == 2) {
    const float *a = from[0], *b = from[1];
    for (std::uint64_t i = 0; i < slice.count; i += 8) {
      _mm256_stream_ps(to + i, _mm256_add_ps(_mm256_load_ps(a + i), _mm256_load_ps(b + i)));
    }
  } else {
    for (std::uint64_t i = 0; i < slice.count; i += 8) {
      __m256 sum = _mm256_load_ps(from[0] + i);
      for (std::uint32_t a = 1; a < settings_.agents; ++a) {
        sum = _mm256_add_ps(sum, _mm256_load_ps(from[a] + i));
      }
      _mm256_stream_ps(to + i, sum);
    }
  }
  _mm_sfence();
}

// Two chunks are under way: while the others publish chunk k, the result of the one before it is
// copied out and the gradient of the one behind it in. Both lie in the other pair of buffers, which
// nobody touches before chunk k + 1 is published.
void Agent::ordinary() {
  const std::uint64_t chunk = settings_.chunk;
  const std::uint64_t chunks = settings_.elements / chunk;
  const auto in = [&](std::uint64_t k) {
    std::memcpy(chunk_gradient_[k & 1], private_gradient_ + k * chunk, chunk * sizeof(float));
  };
  const auto out = [&](std::uint64_t k) {
    copy_streamed(private_result_ + k * chunk, chunk_result_[k & 1], chunk);
  };
  in(0);
  for (std::uint64_t k = 0; k < chunks; ++k) {
    publish(chunk_[k & 1], chunk_gradient_[k & 1]);
    if (k > 0) out(k - 1);
    if (k + 1 < chunks) in(k + 1);
    finish(chunk_[k & 1]);
  }
  out(chunks - 1);
  _mm_sfence();
}

void Agent::run() {
  constexpr std::uint32_t kWarm = 3;
  for (std::uint32_t round = 0; round < settings_.rounds + kWarm; ++round) {
    for (int mode = 0; mode < kModes; ++mode) {
      write_gradient(mode == kOrdinary ? private_gradient_ : gradient_, round);
      barrier();
      const double start = now();
      if (mode == kArena) {
        publish(whole_, gradient_);
        finish(whole_);
      }
      if (mode == kOrdinary) ordinary();
      if (mode == kBound) bound();
      const double seconds = now() - start;
      if (round >= kWarm) page_->seats[me_].seconds[mode][round - kWarm] = seconds;
      barrier();
      if (round == kWarm && mode == kArena) check(result_, round);
      if (round == kWarm && mode == kOrdinary) check(private_result_, round);
    }
  }
}

void pin(std::uint32_t agent) {
  cpu_set_t may;
  CPU_ZERO(&may);
  ::sched_getaffinity(0, sizeof may, &may);
  auto index = static_cast<int>(agent) % CPU_COUNT(&may);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &may) || index-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

// Children find the files at the descriptors that the driver has, named in INSTEP_BENCH.
void agent_main(std::uint32_t me, const Settings& settings, int first) {
  pin(me);
  std::vector<Fd> arenas;
  for (std::uint32_t i = 0; i < settings.agents; ++i) {
    arenas.emplace_back(first + 3 + static_cast<int>(i));
  }
  Agent(me, settings, Fd(first), Fd(first + 1), Fd(first + 2), std::move(arenas)).run();
}

int drive(const Settings& settings, char** argv) {
  constexpr int kFirst = 40;
  fabric::HostFiles files = must(fabric::make_host_files(settings.agents));
  const Fd page_file = must(make_memory_file("exchange-bench", sizeof(Page)));
  std::vector<int> order = {files.control.get(), files.state.get(), page_file.get()};
  for (const Fd& arena : files.arenas) order.push_back(arena.get());
  for (std::size_t i = 0; i < order.size(); ++i) ::dup2(order[i], kFirst + static_cast<int>(i));
  std::vector<pid_t> children;
  for (std::uint32_t agent = 0; agent < settings.agents; ++agent) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("INSTEP_BENCH_AGENT", cat(agent).c_str(), 1);
      ::execv("/proc/self/exe", argv);
      std::_Exit(127);
    }
    children.push_back(child);
  }
  bool good = true;
  for (std::size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    ::wait(&status);
    if (status != 0 && good) {
      good = false;  // the others wait for the one that is gone
      for (const pid_t child : children) ::kill(child, SIGKILL);
    }
  }
  if (!good) fail("an agent failed");
  const auto map = must(fabric::Mapping::map(page_file, false));
  const auto* page = reinterpret_cast<const Page*>(map.data());
  nlohmann::json out{{"agents", settings.agents}, {"shards", settings.agents},
                     {"bytes", settings.elements * sizeof(float)},
                     {"chunk_bytes", settings.chunk * sizeof(float)}};
  for (int mode = 0; mode < kModes; ++mode) {
    for (std::uint32_t round = 0; round < settings.rounds; ++round) {
      std::vector<double> seconds;
      for (std::uint32_t a = 0; a < settings.agents; ++a) {
        seconds.push_back(page->seats[a].seconds[mode][round]);
      }
      out["seconds"][kNames[mode]].push_back(seconds);
    }
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::uint64_t kib = 100 << 10;
  std::uint64_t chunk_kib = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--agents") settings.agents = static_cast<std::uint32_t>(value);
    else if (flag == "--rounds") settings.rounds = static_cast<std::uint32_t>(value);
    else if (flag == "--kib") kib = value;
    else if (flag == "--chunk-kib") chunk_kib = value;
    else fail(cat("unknown flag ", flag));
  }
  if (chunk_kib == 0) chunk_kib = std::min<std::uint64_t>(kib, 1024);
  settings.elements = kib * 256;
  settings.chunk = chunk_kib * 256;
  if (settings.agents < 1 || settings.agents > 32 || settings.rounds < 1 ||
      settings.rounds > kMostRounds || chunk_kib % (4 * settings.agents) != 0 ||
      kib % chunk_kib != 0) {
    fail("--agents 1..32 --rounds 1..4096 --kib SIZE --chunk-kib DIVISOR, a multiple of 4 KiB an agent");
  }
  if (const char* agent = std::getenv("INSTEP_BENCH_AGENT")) {
    agent_main(static_cast<std::uint32_t>(std::atoi(agent)), settings, 40);
    return 0;
  }
  return drive(settings, argv);
}
