// A training loop of one's own: a small convolutional network on MNIST, as one would write it with
// libtorch alone, plus instep::Run. Alone it trains in this process; under
// `instep run -n 4 -- custom_loop …` in four, with the same weights in the end.
#include <instep/instep.h>
#include <torch/torch.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace F = torch::nn::functional;

// LayerNorm and not BatchNorm: instep trains modules whose buffers stay as they are.
struct NetImpl : torch::nn::Module {
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 8, 5).stride(2)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(8, 16, 5).stride(2)};
  torch::nn::LayerNorm norm{torch::nn::LayerNormOptions({256})};
  torch::nn::Dropout dropout{0.1};
  torch::nn::Linear out{256, 10};

  NetImpl() {
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("norm", norm);
    register_module("dropout", dropout);
    register_module("out", out);
  }

  torch::Tensor forward(const torch::Tensor& images) {  // [n, 28, 28]
    torch::Tensor x = torch::relu(conv1(images.unsqueeze(1)));
    x = torch::relu(conv2(x)).flatten(1);
    return out(dropout(norm(x)));
  }
};
TORCH_MODULE(Net);

struct Options {
  fs::path data;
  std::string optimizer = "adamw";
  std::uint64_t samples = 0;  // train on the first so many; 0: on all
};

[[noreturn]] void usage() {
  std::fputs(
      "usage: custom_loop --data=DIR [--optimizer=adamw|rmsprop] [--samples=N] "
      "[--instep.KEY=VALUE]…\n",
      stderr);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::string_view value =
        argument.substr(std::min(argument.find('=') + 1, argument.size()));
    if (argument.starts_with("--instep.")) continue;  // for instep::Run
    if (argument.starts_with("--data=")) {
      options.data = value;
    } else if (argument == "--optimizer=adamw" || argument == "--optimizer=rmsprop") {
      options.optimizer = value;
    } else if (argument.starts_with("--samples=")) {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), options.samples);
      if (error != std::errc() || end != value.data() + value.size()) usage();
    } else {
      usage();
    }
  }
  if (options.data.empty()) usage();
  return options;
}

// Weights decay, biases and the norm do not: two groups of parameters.
std::vector<torch::optim::OptimizerParamGroup> decaying_and_not(Net& net) {
  std::vector<torch::Tensor> decaying;
  std::vector<torch::Tensor> others;
  for (const torch::Tensor& parameter : net->parameters()) {
    (parameter.dim() > 1 ? decaying : others).push_back(parameter);
  }
  return {torch::optim::OptimizerParamGroup(decaying), torch::optim::OptimizerParamGroup(others)};
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::string& name, Net& net) {
  auto groups = decaying_and_not(net);
  if (name == "rmsprop") {
    // No owner knows RMSprop: the combined gradient comes back, and every agent steps for itself.
    using torch::optim::RMSpropOptions;
    groups[0].set_options(
        std::make_unique<RMSpropOptions>(RMSpropOptions(1e-3).weight_decay(1e-4)));
    return std::make_unique<torch::optim::RMSprop>(groups, RMSpropOptions(1e-3));
  }
  // AdamW is an owner update: its state exists once, and each agent steps a part.
  using torch::optim::AdamWOptions;
  groups[0].set_options(std::make_unique<AdamWOptions>(AdamWOptions(2e-3).weight_decay(1e-2)));
  return std::make_unique<torch::optim::AdamW>(groups, AdamWOptions(2e-3).weight_decay(0));
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  instep::Run run(argc, argv, {.epochs = 3, .batch = 256, .shards = 8, .seed = 1});

  const auto train = instep::Dataset::idx(options.data / "train-images-idx3-ubyte.gz",
                                          options.data / "train-labels-idx1-ubyte.gz");
  const auto test = instep::Dataset::idx(options.data / "t10k-images-idx3-ubyte.gz",
                                         options.data / "t10k-labels-idx1-ubyte.gz");
  const bool all = options.samples == 0 || options.samples > train.size();
  std::vector<std::uint64_t> samples(all ? train.size() : options.samples);
  std::iota(samples.begin(), samples.end(), std::uint64_t{0});

  Net net;  // after Run, which seeds libtorch, so that every agent begins with the same values
  const auto optimizer = make_optimizer(options.optimizer, net);
  run.share(net, *optimizer);

  const auto score = [&net](const instep::Batch& batch) {
    const torch::Tensor output = net->forward(batch.data);
    return instep::Score{F::cross_entropy(output, batch.target).item<double>(),
                         output.argmax(1).eq(batch.target).sum().item<std::int64_t>()};
  };
  run.on_epoch([&](instep::EpochInfo& epoch) {
    net->eval();
    const instep::Evaluation result = run.evaluate(test, score);
    net->train();
    epoch.metrics["test_loss"] = result.loss;
    epoch.metrics["test_accuracy"] = result.accuracy;
    if (run.lead()) {
      std::printf("epoch %llu: train loss %.4f, test loss %.4f, test accuracy %.4f\n",
                  static_cast<unsigned long long>(epoch.data_epoch), epoch.train_loss, result.loss,
                  result.accuracy);
      std::fflush(stdout);
    }
  });

  for (instep::Round& round : run.rounds(train, samples)) {
    round.step([&net](const instep::Batch& batch) {
      return F::cross_entropy(net->forward(batch.data), batch.target);
    });
  }
  return 0;
}
