// What one training step costs with instep, on a synthetic batch that lies in memory before the
// clock starts: the engine's rounds without data loading. plain.cc is its peer.
//
//   instep run -n N -- training_bench --model NAME --batch B --shards S --out FILE
//                                     [--warm W] [--seconds S]
//
// Models: those of workload.h. `batch` is the global one. Agent K writes one JSON object to FILE.K;
// the samples are those of its own shards in the seconds after the warm-up.
#include <ATen/Context.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/text.h"
#include "model/arena_allocator.h"
#include "train/engine.h"
#include "train/environment.h"
#include "train/report.h"
#include "workload.h"

namespace {

using namespace instep;  // NOLINT: a program, not a header
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string model = "mnist", out;
  std::int64_t batch = 64, shards = 2;
  double warm = 0.5, seconds = 2;
};

struct Measured {
  std::int64_t samples = 0, steps = 0;
  double seconds = 0;
};

void write(const Settings& settings, int process, const Measured& measured, double waited) {
  const nlohmann::json out{{"samples", measured.samples},
                           {"steps", measured.steps},
                           {"seconds", measured.seconds},
                           {"wait_seconds", waited},
                           {"samples_per_s", measured.samples / measured.seconds}};
  std::ofstream(cat(settings.out, ".", process)) << out << "\n";
}

// instep's own loop without its data loading: the engine's rounds. The agents agree on the last
// round through the lead's directive, as they do on a stop.
int with_instep(const Settings& settings) {
  train::set_threads_early();
  auto started = train::Session::start(train::fingerprint());
  if (!started.ok()) {
    std::fprintf(stderr, "training_bench: %s\n", started.error().message.c_str());
    return 1;
  }
  train::Session& session = **started;
  job::Job job;
  job.name = "training_bench";
  job.batch = settings.batch;
  job.shards = settings.shards;
  if (Status status = train::prepare_libtorch(job); !status.ok()) session.fail(status.error());
  model::install_arena(session.arena());
  const std::int64_t in_a_shard = settings.batch / settings.shards;
  bench::Workload work = bench::make_workload(settings.model, in_a_shard);
  auto engine =
      train::Engine::start(session, job, *work.network.module, *work.optimizer, std::nullopt);
  if (!engine.ok()) session.fail(engine.error());
  train::ShardWork shard_work;
  shard_work.begin = [](const std::vector<std::uint32_t>&) {};
  shard_work.drawn = [](std::uint32_t) { return std::uint64_t{0}; };
  shard_work.samples = [&](std::uint32_t) { return static_cast<std::uint32_t>(in_a_shard); };
  shard_work.loss = [&](std::uint32_t, std::uint32_t, std::uint32_t) { return work.loss(); };
  const std::int64_t mine = static_cast<std::int64_t>((*engine)->my_shards().size()) * in_a_shard;

  const auto end = Clock::now() + std::chrono::duration<double>(settings.warm + settings.seconds);
  bool stopped = (*engine)->spare();
  double waited = 0;
  Measured measured;
  shard_work.directive = [end] {
    return Clock::now() >= end ? round::Directive::kStop : round::Directive::kNone;
  };
  const auto round = [&] {
    auto outcome = (*engine)->run_round(shard_work, 1.0, {});
    if (!outcome.ok()) session.fail(outcome.error());
    stopped = outcome->directive == round::Directive::kStop;
  };
  const auto warm = Clock::now();
  while (!stopped && Clock::now() - warm < std::chrono::duration<double>(settings.warm)) round();
  waited = (*engine)->waited_seconds();
  const auto start = Clock::now();
  while (!stopped) {
    round();
    measured.samples += mine;
    ++measured.steps;
  }
  measured.seconds = std::max(1e-9, std::chrono::duration<double>(Clock::now() - start).count());
  write(settings, session.me(), measured, (*engine)->waited_seconds() - waited);
  session.done(train::report(**engine, nullptr, job, ""));
  return 0;
}

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: instep run -n N -- training_bench --model mnist|wide|resnet20|gpt --batch B "
               "--out FILE [--shards S] [--warm SECONDS] [--seconds SECONDS]\n");
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--model")
      settings.model = value;
    else if (flag == "--out")
      settings.out = value;
    else if (flag == "--batch")
      settings.batch = std::stoll(value);
    else if (flag == "--shards")
      settings.shards = std::stoll(value);
    else if (flag == "--warm")
      settings.warm = std::stod(value);
    else if (flag == "--seconds")
      settings.seconds = std::stod(value);
    else
      usage();
  }
  const bool whole = settings.shards >= 1 && settings.batch >= settings.shards &&
                     settings.batch % settings.shards == 0;
  if (argc % 2 == 0 || settings.out.empty() || !bench::known(settings.model) || !whole) usage();
  return with_instep(settings);
}
