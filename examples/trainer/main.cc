// Whether ten measurements satisfy a noisy rule, learnt by a network of ten, ten and one.
#include <instep/instep.h>
#include <torch/torch.h>
namespace nn = torch::nn;

int main(int argc, char** argv) {
  instep::Run run(argc, argv);  // first: it seeds the weights and the data below
  const auto x = torch::randn({4000, 10}), size = x.slice(1, 0, 5).abs().sum(1, true);
  const auto y = (size + 0.3 * torch::randn({4000, 1})).gt(4).to(torch::kFloat32);
  nn::Sequential net(nn::Linear(10, 10), nn::ReLU(), nn::Linear(10, 1), nn::Sigmoid());
  torch::optim::Adam adam(net->parameters(), 0.01);
  instep::Trainer trainer{net, adam, instep::losses::binary_cross_entropy(), {"accuracy"}};
  trainer.summary();
  const auto all = instep::Dataset::tensors(x, y);
  trainer.fit(all, {.epochs = 20, .batch = 32, .validation_split = 0.2});
}
