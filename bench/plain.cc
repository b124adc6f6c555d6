// The peer of training_bench: one process of libtorch as its tutorials use it, with the same
// network and nothing of instep's engine. run.py starts two at once; they never talk, so their sum
// is what an all-reduce that costs nothing would give to an unchanged program.
//
//   plain_bench --model NAME --batch B --out FILE [--number K] [--cpu C] [--warm W] [--seconds S]
//
// Models: those of workload.h. Writes one JSON object to FILE.K; the samples are those of the
// seconds after the warm-up.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <sched.h>
#include <torch/optim/optimizer.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "workload.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::string model = "mnist", out;
  std::int64_t batch = 64;
  double warm = 0.5, seconds = 2;
  int cpu = -1, number = 0;
};

void measure(const Settings& settings) {
  const instep::bench::Workload work = instep::bench::make_workload(settings.model, settings.batch);

  // Counts the steps that end within `seconds`, and the time that they took.
  const auto run = [&](double seconds, std::int64_t& steps) {
    const auto start = Clock::now();
    double spent = 0;
    for (steps = 0; spent < seconds; ++steps) {
      work.optimizer->zero_grad();
      work.loss().backward();
      work.optimizer->step();
      spent = std::chrono::duration<double>(Clock::now() - start).count();
    }
    return spent;
  };
  std::int64_t steps = 0;
  run(settings.warm, steps);
  const double seconds = run(settings.seconds, steps);
  const std::int64_t samples = steps * settings.batch;
  const nlohmann::json out{{"samples", samples},
                           {"steps", steps},
                           {"seconds", seconds},
                           {"samples_per_s", static_cast<double>(samples) / seconds}};
  std::ofstream(settings.out + "." + std::to_string(settings.number)) << out << "\n";
}

void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  bool good = argc % 2 == 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--model") {
      settings.model = value;
    } else if (flag == "--out") {
      settings.out = value;
    } else if (flag == "--batch") {
      settings.batch = std::stoll(value);
    } else if (flag == "--warm") {
      settings.warm = std::stod(value);
    } else if (flag == "--seconds") {
      settings.seconds = std::stod(value);
    } else if (flag == "--cpu") {
      settings.cpu = std::stoi(value);
    } else if (flag == "--number") {
      settings.number = std::stoi(value);
    } else {
      good = false;
    }
  }
  if (!good || settings.out.empty() || settings.batch < 1 ||
      !instep::bench::known(settings.model)) {
    std::fprintf(
        stderr,
        "usage: plain_bench --model mnist|wide|resnet20|gpt --batch B --out FILE [--number K] "
        "[--cpu C] [--warm SECONDS] [--seconds SECONDS]\n");
    return 2;
  }
  pin(settings.cpu);
  at::set_num_threads(1);
  at::manual_seed(1);
  measure(settings);
  return 0;
}
