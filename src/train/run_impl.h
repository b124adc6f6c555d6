// What stands behind instep::Run; the built-in job program reaches in here too.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "instep/run.h"
#include "job/job.h"
#include "train/evaluator.h"
#include "train/loop.h"

namespace instep {

struct Run::Impl {
  train::Session* session = nullptr;
  job::Job job;
  std::vector<std::string> given;  // keys that a job file, a flag or the environment has set
  bool job_is_whole = false;       // the launcher sent all of it: a resumed run's
  std::filesystem::path run_dir;   // empty: nothing is written
  std::optional<store::Found> resumed;
  std::unique_ptr<train::Engine> engine;
  train::Callbacks callbacks;
  std::unique_ptr<train::Loop> loop;
  std::optional<std::uint64_t> handed_out;  // the round that the program's loop is at
  std::function<void()> before_report;      // puts back the state that was trained
  bool reported = false;

  void share(torch::nn::Module& module, torch::optim::Optimizer& optimizer);
  // Where a program that runs alone writes checkpoints, unless it has been told by a flag.
  void use_run_dir(const std::filesystem::path& folder);
  void start_loop(std::shared_ptr<const data::Table> table, std::vector<std::uint64_t> samples);
  // See train/evaluator.h; whatever goes wrong ends the process.
  Metrics measure(const data::Table& table, const std::vector<std::uint64_t>& samples,
                  const train::MetricSpec& spec, const train::Forward& forward,
                  const LossFunction& loss);
  // The last checkpoint, the report, the word that we are done. Once.
  void finish();
};

// While it lives the shared parameters are their moving average, if the job keeps one and no other
// state has been put in their place.
class WithAverage {
 public:
  explicit WithAverage(const Run::Impl& impl)
      : engine_(impl.before_report ? nullptr : impl.engine.get()) {
    if (engine_ != nullptr) engine_->use_average(true);
  }
  ~WithAverage() {
    if (engine_ != nullptr) engine_->use_average(false);
  }
  WithAverage(const WithAverage&) = delete;
  WithAverage& operator=(const WithAverage&) = delete;

 private:
  train::Engine* engine_;
};

// The process's Run; null if there is none.
namespace train {
Run* current_run();
}

}  // namespace instep
