// The loop of docs/semantics.md in one process of plain libtorch, for tests to compare with: no
// engine, no exchange, no agents. It prints `parameters_sha256` after the job's rounds.
//
//   plain_loop JOB ROUNDS [KEY=VALUE…]
//
// SGD alone, and no clipping, is written out here.
#include <ATen/Context.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
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
#include "reduce/tree.h"
#include "store/digest.h"
#include "train/batches.h"
#include "train/environment.h"
#include "train/tensors.h"

namespace {

using instep::job::Job;
using Values = std::vector<at::Tensor>;

template <class T>
T must(instep::Result<T> result) {
  if (result.ok()) return result.take();
  std::fprintf(stderr, "plain_loop: %s\n", result.error().message.c_str());
  std::exit(2);
}

Values copies(const Values& tensors) {
  Values out;
  for (const at::Tensor& tensor : tensors) out.push_back(tensor.detach().clone());
  return out;
}

void assign(const Values& to, const Values& from) {
  const at::NoGradGuard guard;
  for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
}

Values weighted(const Values& values, float weight) {
  Values out = copies(values);
  if (weight == 1.0F) return out;
  for (at::Tensor& value : out) value.mul_(weight);
  return out;
}

Values tree_sum(const std::vector<Values>& shards, std::uint32_t first, std::uint32_t count) {
  if (count == 1) return shards[first];
  const std::uint32_t left = instep::reduce::left_count(count);
  Values sum = tree_sum(shards, first, left);
  const Values right = tree_sum(shards, first + left, count - left);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

at::Tensor padded(const at::Tensor& values) {
  constexpr std::int64_t kBlock = 1024;
  const std::int64_t blocks = (values.numel() + kBlock - 1) / kBlock;
  at::Tensor out = at::zeros({blocks * kBlock}, at::kFloat);
  out.narrow(0, 0, values.numel()).copy_(values.detach().flatten());
  return out;
}

class Loop {
 public:
  explicit Loop(const Job& job)
      : job_(job),
        network_(must(instep::model::make_network(job.model))),
        table_(must(instep::data::load(job.data, job.loss, job.seed)).train),
        sampler_(all(), {}, job.partition, static_cast<std::uint32_t>(job.shards),
                 static_cast<std::uint64_t>(job.batch), job.seed) {
    network_.module->train();
    for (const at::Tensor& p : network_.module->parameters()) {
      momentum_.push_back(at::zeros_like(padded(p)));
    }
  }

  void run(std::uint64_t round) {
    const auto shards = static_cast<std::uint32_t>(job_.shards);
    const std::int64_t full = (job_.batch + job_.shards - 1) / job_.shards;
    const Values start = copies(network_.module->buffers());
    std::vector<Values> gradients;
    std::vector<Values> statistics;
    std::int64_t samples = 0;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      std::vector<std::uint64_t> numbers;
      sampler_.batch(shard, round / sampler_.rounds_per_epoch(),
                     round % sampler_.rounds_per_epoch(), numbers);
      at::manual_seed(instep::mix(job_.seed, shard, round));
      assign(network_.module->buffers(), start);
      const instep::Batch batch = instep::train::make_batch(table_, numbers);
      network_.module->zero_grad();
      instep::model::loss(job_, network_.forward(batch.data), batch.target).backward();
      const auto weight = static_cast<float>(batch.data.size(0)) / static_cast<float>(full);
      Values gradient;
      for (const at::Tensor& p : network_.module->parameters()) gradient.push_back(p.grad());
      gradients.push_back(weighted(gradient, weight));
      statistics.push_back(weighted(running_statistics(), weight));
      samples += batch.data.size(0);
    }
    const auto factor =
        static_cast<float>(static_cast<double>(full) / static_cast<double>(samples));
    const Values mean = weighted(tree_sum(statistics, 0, shards), factor);
    assign(running_statistics(), mean);
    step(weighted(tree_sum(gradients, 0, shards), factor), round == 0);
  }

  std::string digest() const {
    std::vector<instep::store::TensorBytes> out;
    for (const auto& item : network_.module->named_parameters()) {
      out.push_back(instep::train::as_bytes(item.key(), item.value()));
    }
    for (const auto& item : network_.module->named_buffers()) {
      out.push_back(instep::train::as_bytes(item.key(), item.value()));
    }
    return instep::store::digest(std::move(out));
  }

 private:
  std::vector<std::uint64_t> all() const {
    std::vector<std::uint64_t> out(table_.size);
    for (std::uint64_t i = 0; i < table_.size; ++i) out[i] = i;
    return out;
  }

  Values running_statistics() const {
    Values out;
    for (const at::Tensor& buffer : network_.module->buffers()) {
      if (buffer.is_floating_point()) out.push_back(buffer);
    }
    return out;
  }

  void step(const Values& gradients, bool first) {
    const at::NoGradGuard guard;
    const Values parameters = network_.module->parameters();
    Values flat;
    Values steps;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      flat.push_back(padded(parameters[i]));
      steps.push_back(padded(gradients[i]));
    }
    const instep::job::Optimizer& spec = job_.optimizer;
    at::_fused_sgd_(flat, steps, momentum_, 0, spec.momentum, spec.lr, spec.dampening,
                    spec.nesterov, false, first);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].copy_(flat[i].narrow(0, 0, parameters[i].numel()).view_as(parameters[i]));
    }
  }

  const Job& job_;
  instep::model::Network network_;
  instep::data::Table table_;
  instep::data::Sampler sampler_;
  Values momentum_;
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
