// What stands behind instep::Trainer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "instep/trainer.h"
#include "model/binding.h"
#include "train/monitor.h"
#include "train/run_impl.h"

namespace instep {

struct Trainer::Impl {
  torch::nn::Module& module;
  Forward forward;
  torch::optim::Optimizer& optimizer;
  const Loss loss;
  std::vector<std::string> metrics;  // as the program named them
  std::unique_ptr<Run> own;          // if the program made none
  Run* run = nullptr;

  train::MetricSpec spec;
  std::vector<std::shared_ptr<Callback>> callbacks;
  std::vector<std::shared_ptr<train::EarlyStop>> stops;  // of them, those that may keep weights
  std::optional<Dataset> train, validation;              // of fit()
  data::Parts parts;
  std::vector<model::NamedTensor> best;  // weights of the best epoch, where they are to be restored
  bool fitted = false;

  Impl(torch::nn::Module& model, Forward call, torch::optim::Optimizer& steps, Loss mean,
       std::vector<std::string> names);
  Run::Impl& inner() const { return run->impl(); }
  [[noreturn]] void fail(std::string message) const;

  void take_options(const FitOptions& options);
  void take_data(const Dataset& samples, const FitOptions& options);
  void take_callbacks(const FitOptions& options);
  // A monitored value is one that epochs will have.
  void check_monitor(const std::string& callback, const std::string& monitor) const;
  void tell_again();
  void end_epoch(EpochInfo& info);
  std::map<std::string, double> measure_sets();
  Metrics measure(const Dataset& dataset, const std::vector<std::uint64_t>& samples);
  void keep_best(std::uint64_t epoch_round);
  void restore_best();
  History history() const;
};

namespace train {

// A table of a module's layers.
std::string describe(const torch::nn::Module& module);

}  // namespace train
}  // namespace instep
