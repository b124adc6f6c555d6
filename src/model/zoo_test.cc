// The models of the zoo that have more than one page: sizes, names, learning, modes, bits.
#include <ATen/ops/allclose.h>

#include "job/job.h"
#include "model/testing.h"

namespace instep::model {
namespace {

job::Model resnet20(std::int64_t channels = 3) {
  job::Model model;
  model.kind = "resnet20";
  model.channels = channels;
  return model;
}

job::Model gpt(double dropout = 0.1) {
  job::Model model;
  model.kind = "gpt";
  model.layers = {3};
  model.width = 24;
  model.heads = 4;
  model.context = 12;
  model.vocabulary = 37;
  model.dropout = dropout;
  return model;
}

job::Model lstm(std::int64_t inputs, double dropout = 0.1) {
  job::Model model;
  model.kind = "lstm";
  model.layers = {2};
  model.width = 20;
  model.inputs = inputs;
  model.outputs = 5;
  model.vocabulary = 37;
  model.dropout = dropout;
  return model;
}

std::vector<job::Model> all() { return {resnet20(), resnet20(1), gpt(), lstm(0), lstm(6)}; }

std::int64_t elements(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

TEST(Zoo, TheJobCountsParametersRight) {
  for (const job::Model& model : all()) {
    job::Job job;
    job.model = model;
    EXPECT_EQ(elements(*make(model).module), job::parameter_count(job)) << model.kind;
  }
  EXPECT_EQ(elements(*make(resnet20()).module), 269'722);
}

TEST(Zoo, NamesAreThoseOfPyTorch) {
  const auto images = shapes(*make(resnet20()).module);
  EXPECT_EQ(images.size(), 59U + 3 * 19);
  EXPECT_EQ(images.at("conv1.weight"), "[16, 3, 3, 3]");
  EXPECT_EQ(images.at("bn1.running_var"), "[16]");
  EXPECT_EQ(images.at("layer2.0.conv1.weight"), "[32, 16, 3, 3]");
  EXPECT_EQ(images.at("layer3.2.bn2.num_batches_tracked"), "[]");
  EXPECT_EQ(images.at("fc.weight"), "[10, 64]");
  const auto text = shapes(*make(gpt()).module);
  EXPECT_EQ(text.size(), 2U + 3 * 12 + 2 + 1);
  EXPECT_EQ(text.at("transformer.wpe.weight"), "[12, 24]");
  EXPECT_EQ(text.at("transformer.h.2.attn.c_attn.weight"), "[72, 24]");
  EXPECT_EQ(text.at("transformer.h.0.mlp.c_proj.bias"), "[24]");
  EXPECT_EQ(text.at("lm_head.weight"), "[37, 24]");
  const auto steps = shapes(*make(lstm(0)).module);
  EXPECT_EQ(steps.size(), 1U + 8 + 2);
  EXPECT_EQ(steps.at("embedding.weight"), "[37, 20]");
  EXPECT_EQ(steps.at("lstm.weight_hh_l1"), "[80, 20]");
  EXPECT_EQ(shapes(*make(lstm(6)).module).at("head.weight"), "[5, 20]");
}

TEST(Zoo, OutputsHaveTheirShapes) {
  EXPECT_EQ(make(resnet20()).forward(at::randn({2, 3, 32, 32})).sizes(), at::IntArrayRef({2, 10}));
  EXPECT_EQ(make(resnet20(1)).forward(at::randn({2, 28, 28})).sizes(), at::IntArrayRef({2, 10}));
  EXPECT_EQ(make(gpt()).forward(sample(gpt()).x).sizes(), at::IntArrayRef({4, 9, 37}));
  EXPECT_EQ(make(lstm(0)).forward(sample(lstm(0)).x).sizes(), at::IntArrayRef({4, 9, 37}));
  EXPECT_EQ(make(lstm(6)).forward(sample(lstm(6)).x).sizes(), at::IntArrayRef({4, 5}));
  const Network network = make(lstm(6, 0));
  const at::Tensor x = at::randn({3, 2, 6});
  EXPECT_TRUE(at::equal(network.forward(x), network.forward(x.flatten(1))));
}

TEST(Zoo, EveryParameterGetsAGradient) {
  for (const job::Model& model : all()) {
    const Network network = make(model);
    loss_of(network, sample(model)).backward();
    for (const auto& item : network.module->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << model.kind << " " << item.key();
      EXPECT_GT(item.value().grad().abs().sum().item<double>(), 0) << model.kind << item.key();
    }
  }
}

TEST(Zoo, AFewStepsLowerTheLossWithTheSameBits) {
  for (const job::Model& model : all()) {
    const double lr = model.kind == "lstm" ? 2.0 : 0.1;
    const auto losses = train(make(model), sample(model), 8, lr);
    EXPECT_LT(losses.back(), 0.95 * losses.front()) << model.kind;
    EXPECT_EQ(losses, train(make(model), sample(model), 8, lr)) << model.kind;
    EXPECT_NE(losses.front(), train(make(model, 2), sample(model), 1, lr).front()) << model.kind;
  }
}

TEST(Zoo, DropoutDrawsInTrainingOnly) {
  for (const job::Model& model : {gpt(0.3), lstm(0, 0.3), lstm(6, 0.3)}) {
    const Network network = make(model);
    const at::Tensor x = sample(model).x;
    const at::Tensor first = network.forward(x);
    EXPECT_FALSE(at::equal(first, network.forward(x))) << model.kind;
    network.module->eval();
    EXPECT_TRUE(at::equal(network.forward(x), network.forward(x))) << model.kind;
  }
}

TEST(Zoo, NormsKeepStatisticsInTrainingOnly) {
  const Network network = make(resnet20());
  const at::Tensor x = sample(resnet20()).x;
  const auto buffers = network.module->named_buffers();
  network.forward(x);
  const at::Tensor mean = buffers["layer1.0.bn1.running_mean"].clone();
  EXPECT_GT(mean.abs().sum().item<double>(), 0);
  EXPECT_EQ(buffers["bn1.num_batches_tracked"].item<std::int64_t>(), 1);
  network.module->eval();
  network.forward(x);
  EXPECT_TRUE(at::equal(mean, buffers["layer1.0.bn1.running_mean"]));
}

TEST(Zoo, AGptLooksBackOnly) {
  const Network network = make(gpt());
  network.module->eval();
  const at::Tensor x = sample(gpt()).x;
  at::Tensor other = x.clone();
  other.select(1, 5).add_(1).remainder_(37);
  const at::Tensor one = network.forward(x);
  const at::Tensor two = network.forward(other);
  EXPECT_TRUE(at::allclose(one.narrow(1, 0, 5), two.narrow(1, 0, 5)));
  for (std::int64_t step = 5; step < 9; ++step) {
    EXPECT_FALSE(at::allclose(one.select(1, step), two.select(1, step))) << step;
  }
}

TEST(Zoo, AGptRefusesMoreThanItsContext) {
  const Network network = make(gpt());
  EXPECT_THROW(network.forward(at::randint(37, {1, 13}, at::kLong)), c10::Error);
}

TEST(Zoo, AGptBeginsAsGpt2) {
  const Network network = make([] {
    job::Model model = gpt();
    model.width = 128;
    model.vocabulary = 500;
    return model;
  }());
  const auto parameters = network.module->named_parameters();
  const auto deviation = [&parameters](const std::string& name) {
    return parameters[name].std().item<double>();
  };
  EXPECT_NEAR(deviation("transformer.wte.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("transformer.h.1.attn.c_attn.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("transformer.h.1.attn.c_proj.weight"), 0.02 / std::sqrt(6), 0.0005);
  EXPECT_NEAR(deviation("transformer.h.2.mlp.c_proj.weight"), 0.02 / std::sqrt(6), 0.0005);
  EXPECT_EQ(parameters["transformer.h.0.mlp.c_fc.bias"].abs().sum().item<double>(), 0);
}

}  // namespace
}  // namespace instep::model
