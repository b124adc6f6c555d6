// What one exchange costs, beside the memory-bandwidth bound of its traffic.
//
//   exchange_bench --agents N --kib SIZE --rounds R [--chunk-kib C] [--again 1]
//
// Starts N agents (itself again, by exec), each pinned to a processor, over the shared files that
// the launcher makes. They run the product's round::Exchange over one tensor, S = N, and in turn
//   bound      what `arena` reads and writes without any protocol: every agent reads its slice of
//              all gradients and writes its slice of the result around the cache;
//   arena      the gradient lies in the arena, the result is used where it is;
//   ordinary   both lie in private memory: what the others need goes through the arena chunk by
//              chunk, so that it stays in cache.
// Before each of them every agent writes its gradient anew, as a backward() just has. With
// `--again 1` nobody does: the same buffers are summed again and again, as benchmarks of all-reduce
// usually do. All start together. Prints one JSON object: seconds of each round and agent.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "exchange_agent.h"

namespace instep::bench {
namespace {

constexpr const char* kNames[kModes] = {"bound", "arena", "ordinary"};

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
  nlohmann::json out{{"agents", settings.agents},
                     {"shards", settings.agents},
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

int exchange_main(int argc, char** argv) {
  Settings settings;
  std::uint64_t kib = 100 << 10;
  std::uint64_t chunk_kib = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--agents")
      settings.agents = static_cast<std::uint32_t>(value);
    else if (flag == "--rounds")
      settings.rounds = static_cast<std::uint32_t>(value);
    else if (flag == "--kib")
      kib = value;
    else if (flag == "--chunk-kib")
      chunk_kib = value;
    else if (flag == "--again")
      settings.again = value != 0;
    else
      fail(cat("unknown flag ", flag));
  }
  if (chunk_kib == 0) chunk_kib = std::min<std::uint64_t>(kib, 1024);
  settings.elements = kib * 256;
  settings.chunk = chunk_kib * 256;
  if (settings.agents < 1 || settings.agents > 32 || settings.rounds < 1 ||
      settings.rounds > kMostRounds || chunk_kib % (4 * settings.agents) != 0 ||
      kib % chunk_kib != 0) {
    fail(
        "--agents 1..32 --rounds 1..4096 --kib SIZE --chunk-kib DIVISOR, a multiple of 4 KiB an "
        "agent");
  }
  if (const char* agent = std::getenv("INSTEP_BENCH_AGENT")) {
    agent_main(static_cast<std::uint32_t>(std::strtoul(agent, nullptr, 10)), settings, 40);
    return 0;
  }
  return drive(settings, argv);
}

}  // namespace
}  // namespace instep::bench

int main(int argc, char** argv) { return instep::bench::exchange_main(argc, argv); }
