// The usual libtorch loop of a job, beside which `./dev bench learn` puts instep's curve: the whole
// batch at once, torch::optim, one process; the networks and the data are the job's.
//
//   learn_bench JOB FILE [KEY=VALUE…]
//
// FILE gets a JSON object: the mean training loss and the test set's loss and accuracy by epoch of
// data, and the seconds of training.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/nn/module.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/optimizer.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/sampler.h"
#include "job/job.h"
#include "model/loss.h"
#include "model/network.h"
#include "sync/schedule.h"
#include "train/batches.h"
#include "train/evaluator.h"
#include "train/job_optimizer.h"

namespace {

using namespace instep;  // NOLINT: a program, not a header
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

template <class T>
T must(Result<T> result) {
  if (result.ok()) return result.take();
  std::fprintf(stderr, "learn_bench: %s\n", result.error().message.c_str());
  std::exit(2);
}

class Loop {
 public:
  explicit Loop(const job::Job& job)
      : job_(job),
        network_(must(model::make_network(job.model))),
        optimizer_(train::make_optimizer(*network_.module, job.optimizer)),
        data_(must(data::load(job.data, job.loss, job.seed))),
        sampler_(data::first_samples(data_.train.size), {}, job.partition,
                 static_cast<std::uint32_t>(job.shards), static_cast<std::uint64_t>(job.batch),
                 job.seed) {
    for (auto& group : optimizer_->param_groups()) rates_.push_back(group.options().get_lr());
  }

  Json run() {
    Json train = Json::array();
    Json loss = Json::array();
    Json accuracy = Json::array();
    double seconds = 0;
    for (std::int64_t epoch = 0; epoch < job_.epochs; ++epoch) {
      const auto begin = Clock::now();
      train.push_back(learn(static_cast<std::uint64_t>(epoch)));
      seconds += std::chrono::duration<double>(Clock::now() - begin).count();
      const Metrics found = test();
      loss.push_back(found.at("loss"));
      accuracy.push_back(found.at("accuracy"));
      std::printf("epoch %ld: loss %.4f, test loss %.4f, accuracy %.4f\n",
                  static_cast<long>(epoch + 1), train.back().get<double>(), found.at("loss"),
                  found.at("accuracy"));
      std::fflush(stdout);
    }
    return {{"train_loss", train},
            {"test_loss", loss},
            {"test_accuracy", accuracy},
            {"seconds", seconds}};
  }

 private:
  double learn(std::uint64_t epoch) {
    network_.module->train();
    const std::uint64_t rounds = sampler_.rounds_per_epoch();
    double sum = 0;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      std::vector<std::uint64_t> whole;
      for (std::uint32_t shard = 0; shard < job_.shards; ++shard) {
        std::vector<std::uint64_t> part;
        sampler_.batch(shard, epoch, round, part);
        whole.insert(whole.end(), part.begin(), part.end());
      }
      const double factor = sync::schedule_factor(job_.schedule, epoch * rounds + round, rounds,
                                                  rounds * static_cast<std::uint64_t>(job_.epochs));
      for (std::size_t i = 0; i < rates_.size(); ++i) {
        optimizer_->param_groups()[i].options().set_lr(rates_[i] * factor);
      }
      const Batch batch = train::make_batch(data_.train, whole);
      optimizer_->zero_grad();
      const at::Tensor loss = model::loss(job_, network_.forward(batch.data), batch.target);
      loss.backward();
      if (job_.optimizer.clip_norm > 0) {
        torch::nn::utils::clip_grad_norm_(network_.module->parameters(), job_.optimizer.clip_norm);
      }
      optimizer_->step();
      sum += loss.item<double>() * static_cast<double>(whole.size());
    }
    return sum / static_cast<double>(sampler_.size());
  }

  Metrics test() {
    network_.module->eval();
    return must(train::measure(
        nullptr, data_.test, data::first_samples(data_.test.size),
        static_cast<std::uint64_t>(job_.eval_batch), train::metrics_of(job_),
        [this](const Batch& batch) { return network_.forward(batch.data); },
        [this](const at::Tensor& output, const at::Tensor& target) {
          return model::measured_loss(job_, output, target);
        }));
  }

  const job::Job& job_;
  model::Network network_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  data::Dataset data_;
  data::Sampler sampler_;
  std::vector<double> rates_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: learn_bench JOB FILE [KEY=VALUE…]\n");
    return 2;
  }
  const job::Job job = must(job::load(argv[1], {argv + 3, argv + argc})).job;
  at::set_num_threads(1);
  at::manual_seed(job.seed);
  const Json out = Loop(job).run();
  std::ofstream(argv[2]) << out << "\n";
  return 0;
}
