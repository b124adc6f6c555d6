// What stands behind instep::Run; the built-in job program reaches in here too.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "instep/run.h"
#include "job/job.h"
#include "train/loop.h"

namespace instep {

struct Run::Impl {
  train::Session* session = nullptr;
  job::Job job;
  std::filesystem::path run_dir;  // empty: nothing is written
  std::optional<store::Found> resumed;
  std::unique_ptr<train::Engine> engine;
  train::Callbacks callbacks;
  std::unique_ptr<train::Loop> loop;
  std::optional<std::uint64_t> handed_out;  // the round that the program's loop is at
  bool reported = false;

  void share(torch::nn::Module& module, torch::optim::Optimizer& optimizer);
  void start_loop(std::shared_ptr<const data::Table> table, std::vector<std::uint64_t> samples);
  // The last checkpoint, the report, the word that we are done. Once.
  void finish();
};

}  // namespace instep
