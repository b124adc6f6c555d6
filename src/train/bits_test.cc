// What was found to change libtorch's bits, and is kept from doing so (docs/determinism.md). Each
// case is a process under ctest: OpenMP and MKL read their environment once.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/jit.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/machine.h"
#include "base/random.h"
#include "instep/run.h"
#include "model/arena_allocator.h"
#include "train/environment.h"
#include "train/test_program.h"

namespace instep {
namespace {

namespace F = torch::nn::functional;
using train::fingerprint;
using train::prepare_libtorch;
using train::set_threads_early;

// For the life of the process, as install_arena wants it.
void use_an_arena() {
  constexpr std::size_t kBytes = 64 << 20;
  static auto* memory = static_cast<std::byte*>(std::aligned_alloc(4096, kBytes));
  static fabric::Arena arena({memory, kBytes});
  ASSERT_TRUE(train::prepare_libtorch({}).ok());
  model::install_arena(arena);
}

TEST(BitsTest, AMatrixProductIsTheSameWhereverItsTensorsLie) {
  use_an_arena();
  Random random(3);
  std::vector<at::Tensor> held;
  for (const auto& [m, k, n] :
       {std::tuple{1, 7, 3}, {5, 33, 17}, {13, 65, 10}, {64, 784, 61}, {127, 129, 255}}) {
    const at::Tensor a = at::randn({m, k});
    const at::Tensor b = at::randn({k, n});
    const at::Tensor due = a.mm(b);
    for (int i = 0; i < 60; ++i) {
      held.push_back(at::empty({static_cast<std::int64_t>(1 + random.below(3000))}));
      if (random.below(2) == 0) held[random.below(held.size())] = at::empty({1});
      const at::Tensor a2 = a.clone();
      const at::Tensor b2 = b.clone();
      const at::Tensor got = a2.mm(b2);
      for (const at::Tensor& tensor : {a2, b2, got}) {
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % 64, 0U);
      }
      ASSERT_TRUE(at::equal(got, due)) << m << " x " << k << " x " << n;
    }
  }
}

// Dropout takes libtorch's default generator, which the rounds seed from (seed, shard, round)
// alone: neither the order of shards nor what else took random numbers changes it.
TEST(BitsTest, DropoutDependsOnSeedShardAndRoundAlone) {
  constexpr std::uint64_t kSeed = 7;
  Arguments arguments;
  instep::Run run(arguments.argc(), arguments.argv(),
                  {.epochs = 3, .batch = 32, .shards = 4, .seed = kSeed});
  const Samples data(64);
  torch::nn::Linear net(20, 5);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  run.share(net, optimizer);
  struct Made {
    std::uint32_t shard;
    std::uint64_t round;
    at::Tensor x, out;
  };
  std::vector<Made> made;
  run.on_round([](const RoundInfo& info) {
    at::rand({static_cast<std::int64_t>(info.round)});  // somebody else's draw
  });
  for (Round& round : run.rounds(Dataset::tensors(data.x, data.y))) {
    round.step([&](const Batch& batch) {
      const at::Tensor kept = at::dropout(batch.data, 0.5, true);
      made.push_back({batch.shard, batch.round, batch.data, kept});
      return F::cross_entropy(net(kept), batch.target);
    });
  }
  ASSERT_EQ(made.size(), 24U);
  for (auto one = made.rbegin(); one != made.rend(); ++one) {
    at::manual_seed(mix(kSeed, one->shard, one->round));
    ASSERT_TRUE(at::equal(at::dropout(one->x, 0.5, true), one->out))
        << "shard " << one->shard << ", round " << one->round;
    at::rand({3});
  }
  EXPECT_FALSE(at::equal(made[0].out.eq(0), made[1].out.eq(0)));
}

// TorchScript's optimizer rewrites a graph once it has seen it run.
TEST(BitsTest, ATorchScriptModuleHasTheSameBitsInItsFirstRunAndLater) {
  use_an_arena();
  const auto unit = torch::jit::compile(R"(
def forward(x, w, b):
    h = torch.layer_norm(torch.matmul(x, w) + b, [33])
    g = h * torch.sigmoid(h * 1.702) + torch.tanh(h) * 0.1 - h / 3.0
    return torch.softmax(g, 1).pow(2).sum()
)");
  const at::Tensor x = at::randn({17, 65});
  const at::Tensor w = at::randn({65, 33}).requires_grad_();
  const at::Tensor b = at::randn({33}).requires_grad_();
  std::vector<at::Tensor> first;
  for (int run = 0; run < 6; ++run) {
    w.mutable_grad().reset();
    b.mutable_grad().reset();
    const at::Tensor out = unit->run_method("forward", x, w, b).toTensor();
    out.backward();
    const std::vector<at::Tensor> now = {out.detach(), w.grad(), b.grad()};
    if (run == 0) first = now;
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(now[i], first[i])) << run << " " << i;
  }
}

TEST(EnvironmentTest, TheJobsSettingsAreMade) {
  job::Job job;
  job.threads = 2;
  ASSERT_TRUE(prepare_libtorch(job).ok());
  EXPECT_EQ(at::get_num_threads(), 2);
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
  EXPECT_FALSE(at::globalContext().deterministicAlgorithmsWarnOnly());
  EXPECT_FALSE(at::globalContext().deterministicFillUninitializedMemory());
  EXPECT_FALSE(torch::jit::getGraphExecutorOptimize());
  EXPECT_STREQ(std::getenv("MKL_CBWR"), "AUTO");
  const float tiny = 1e-40F;  // below float's normal numbers; libtorch can be told to flush it to 0
  EXPECT_EQ((at::full({64}, tiny) * 1).min().item<float>(), tiny);
}

TEST(EnvironmentTest, ThreadsAreTheLaunchersBeforeTheJobIsKnownElseOne) {
  ::setenv("OMP_NUM_THREADS", "3", 1);
  set_threads_early();
  EXPECT_EQ(at::get_num_threads(), 3);
  ::unsetenv("OMP_NUM_THREADS");
  set_threads_early();
  EXPECT_EQ(at::get_num_threads(), 1);
}

TEST(EnvironmentTest, OpenMpMayNotChangeTheNumberOfThreads) {
  job::Job job;
  job.threads = 2;
  for (const char* off : {"false", "FALSE", "0", ""}) {
    ::setenv("OMP_DYNAMIC", off, 1);
    EXPECT_TRUE(prepare_libtorch(job).ok()) << off;
  }
  ::setenv("OMP_DYNAMIC", "true", 1);
  const Status dynamic = prepare_libtorch(job);
  ASSERT_FALSE(dynamic.ok());
  EXPECT_NE(dynamic.error().message.find("OMP_DYNAMIC=true"), std::string::npos);
  ::unsetenv("OMP_DYNAMIC");

  ::setenv("OMP_THREAD_LIMIT", "2", 1);
  EXPECT_TRUE(prepare_libtorch(job).ok());
  ::setenv("OMP_THREAD_LIMIT", "1", 1);
  const Status limited = prepare_libtorch(job);
  ASSERT_FALSE(limited.ok());
  EXPECT_NE(limited.error().message.find("OMP_THREAD_LIMIT=1 is below threads = 2"),
            std::string::npos);
}

TEST(EnvironmentTest, TheFingerprintTellsWhatBitsDependOn) {
  at::set_num_threads(1);
  const auto one = fingerprint();
  EXPECT_EQ(fingerprint(), one);
  EXPECT_EQ(one.at("processor"), cpu_model());
  EXPECT_EQ(one.at("MKL_CBWR"), "AUTO");
  EXPECT_FALSE(one.at("probe").empty());

  at::set_num_threads(2);
  EXPECT_NE(fingerprint().at("threads"), one.at("threads"));
  at::set_num_threads(1);
  ::setenv("MKL_CBWR", "COMPATIBLE", 1);
  EXPECT_NE(fingerprint(), one);
}

}  // namespace
}  // namespace instep
