// The loop of docs/semantics.md in one process of plain libtorch, for tests to compare with: no
// engine, no exchange, no agents. It prints `parameters_sha256` after the job's rounds.
//
//   plain_loop JOB ROUNDS [KEY=VALUE…]
//
// SGD alone, and no clipping, is written out here.
#include <ATen/Context.h>
#include <torch/nn/module.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/random.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "job/job.h"
#include "model/loss.h"
#include "model/network.h"
#include "store/digest.h"
#include "train/batches.h"
#include "train/environment.h"
#include "train/tensors.h"
#include "train/test_plain.h"

namespace {

using instep::job::Job;
template <class T>
T must(instep::Result<T> result) {
  if (result.ok()) return result.take();
  std::fprintf(stderr, "plain_loop: %s\n", result.error().message.c_str());
  std::exit(2);
}

class Loop {
 public:
  explicit Loop(const Job& job)
      : job_(job),
        network_(must(instep::model::make_network(job.model))),
        table_(must(instep::data::load(job.data, job.loss, job.seed)).train),
        sampler_(instep::data::first_samples(table_.size), {}, job.partition,
                 static_cast<std::uint32_t>(job.shards), static_cast<std::uint64_t>(job.batch),
                 job.seed),
        loop_(network_.module, (job.batch + job.shards - 1) / job.shards) {
    network_.module->train();
  }

  void run(std::uint64_t round) {
    loop_.begin_round();
    for (std::uint32_t shard = 0; shard < static_cast<std::uint32_t>(job_.shards); ++shard) {
      std::vector<std::uint64_t> numbers;
      sampler_.batch(shard, round / sampler_.rounds_per_epoch(),
                     round % sampler_.rounds_per_epoch(), numbers);
      at::manual_seed(instep::mix(job_.seed, shard, round));
      const instep::Batch batch = instep::train::make_batch(table_, numbers);
      loop_.shard(batch.data.size(0), [&] {
        return instep::model::loss(job_, network_.forward(batch.data), batch.target);
      });
    }
    const instep::job::Optimizer& spec = job_.optimizer;
    loop_.step({spec.lr, spec.momentum, spec.dampening, spec.nesterov});
  }

  std::string digest() const {
    std::vector<instep::store::TensorBytes> out;
    for (const auto& item : instep::train::tensors_of(*network_.module)) {
      out.push_back(instep::train::as_bytes(item.name, item.tensor));
    }
    return instep::store::digest(std::move(out));
  }

 private:
  const Job& job_;
  instep::model::Network network_;
  instep::data::Table table_;
  instep::data::Sampler sampler_;
  instep::reference::GhostBatches loop_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::vector<std::string> sets(argv + 3, argv + argc);
  const Job job = must(instep::job::load(argv[1], sets)).job;
  instep::train::set_threads_early();
  if (!instep::train::prepare_libtorch(job).ok()) return 2;
  Loop loop(job);
  const std::uint64_t rounds = std::strtoull(argv[2], nullptr, 10);
  for (std::uint64_t round = 0; round < rounds; ++round) loop.run(round);
  std::puts(loop.digest().c_str());
  return 0;
}
