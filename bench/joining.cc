// When each round of a small network was over, by the agent that leads: how much a newcomer
// disturbs those that train.
//
//   instep run -n N --fault "join at R" -- joining_bench FILE [--instep.KEY=VALUE …]
//
// 784-64-10 with Adam on made-up samples, 128 a round. The lead writes FILE at the
// end: a JSON list of CLOCK_MONOTONIC in nanoseconds, one for each round.
#include <instep/instep.h>
#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: joining_bench FILE [--instep.KEY=VALUE …]\n", stderr);
    return 2;
  }
  constexpr std::int64_t kSamples = 8192;
  instep::Run run(argc, argv, {.epochs = 1, .batch = 128, .shards = 2, .seed = 1});
  const auto data =
      instep::Dataset::tensors(torch::rand({kSamples, 784}), torch::randint(10, {kSamples}));
  torch::nn::Sequential net(torch::nn::Linear(784, 64), torch::nn::ReLU(),
                            torch::nn::Linear(64, 10));
  torch::optim::Adam optimizer(net->parameters());
  run.share(net.ptr(), optimizer);
  std::vector<std::int64_t> over;
  for (instep::Round& round : run.rounds(data)) {
    round.step([&net](const instep::Batch& batch) {
      return torch::nn::functional::cross_entropy(net->forward(batch.data), batch.target);
    });
    over.push_back(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  if (!run.lead()) return 0;
  std::ofstream out(argv[1]);
  out << "[";
  for (std::size_t k = 0; k < over.size(); ++k) out << (k == 0 ? "" : ",") << over[k];
  out << "]\n";
  return out.good() ? 0 : 1;
}
