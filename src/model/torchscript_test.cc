#include "model/torchscript.h"

#include <torch/csrc/jit/api/module.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "base/file.h"
#include "base/hash.h"
#include "base/testing_folder.h"
#include "model/testing.h"

namespace instep::model {
namespace {

using Script = torch::jit::Module;

class TorchscriptTest : public FolderTest {
 protected:
  job::Model save(const Script& script) {
    job::Model model;
    model.kind = "torchscript";
    model.file = (folder_ / cat("m", ++count_, ".pt")).string();
    script.save(model.file);
    return model;
  }

  std::string refusal(const Script& script) {
    const auto network = make_network(save(script));
    return network.ok() ? "loaded" : network.error().message;
  }

  int count_ = 0;
};

at::Tensor trained(const at::Tensor& values) { return values.set_requires_grad(true); }

// y = scale * dropout(x @ weight), where a child has the weight and counts its calls in a buffer.
Script counting(const char* count = "self.calls += 1") {
  at::manual_seed(3);
  Script child("Child");
  child.register_parameter("weight", trained(at::randn({4, 3})), false);
  child.register_buffer("calls", at::zeros({1}));
  child.register_attribute("training", c10::BoolType::get(), true);
  child.define(cat("def forward(self, x):\n  if self.training:\n    ", count,
                   "\n  return torch.dropout(torch.matmul(x, self.weight), 0.5, self.training)\n"));
  Script root("Root");
  root.register_module("child", child);
  root.register_parameter("scale", trained(at::ones({3})), false);
  root.register_attribute("training", c10::BoolType::get(), true);
  root.define("def forward(self, x):\n  return self.child.forward(x) * self.scale\n");
  return root;
}

Script one_line(const std::string& forward, bool parameter = true) {
  Script script("One");
  if (parameter) script.register_parameter("weight", trained(at::ones({3, 3})), false);
  script.register_attribute("training", c10::BoolType::get(), true);
  script.define(forward);
  return script;
}

TEST_F(TorchscriptTest, TheTreeIsTheScriptsOwn) {
  const Network network = make(save(counting()));
  EXPECT_EQ(shapes(*network.module),
            (std::map<std::string, std::string>{
                {"child.weight", "[4, 3]"}, {"child.calls", "[1]"}, {"scale", "[3]"}}));
  const auto buffers = network.module->named_buffers();
  const at::Tensor x = at::ones({2, 4});
  const at::Tensor first = network.forward(x);
  EXPECT_EQ(buffers["child.calls"].item<float>(), 1);
  EXPECT_FALSE(at::equal(first, network.forward(x))) << "dropout draws";
  network.module->eval();
  EXPECT_TRUE(at::equal(network.forward(x), network.forward(x)));
  EXPECT_EQ(buffers["child.calls"].item<float>(), 2);
  // As the engine does each round: the parameter's data elsewhere.
  network.module->named_parameters()["child.weight"].set_data(at::zeros({4, 3}));
  EXPECT_EQ(network.forward(x).abs().sum().item<float>(), 0);
}

TEST_F(TorchscriptTest, ABufferThatIsReplacedStaysTheRegisteredOne) {
  const Network network = make(save(counting("self.calls = self.calls + 1")));
  const at::Tensor calls = network.module->named_buffers()["child.calls"];
  for (int call = 1; call <= 3; ++call) {
    network.forward(at::ones({2, 4}));
    EXPECT_EQ(calls.item<float>(), static_cast<float>(call));
  }
  calls.fill_(10);
  network.forward(at::ones({2, 4}));
  EXPECT_EQ(calls.item<float>(), 11);
}

TEST_F(TorchscriptTest, TrainsWithTheSameBitsAndIsSavedAgain) {
  const job::Model model = save(counting());
  const Sample batch{at::randn({8, 4}), at::randint(3, {8}, at::kLong)};
  const Network network = make(model);
  const auto losses = train(network, batch, 20, 0.5);
  EXPECT_EQ(losses, train(make(model), batch, 20, 0.5));
  network.module->eval();
  EXPECT_LT(loss_of(network, batch).item<double>(), 0.8 * losses.front());
  job::Model again = model;
  again.file = (folder_ / "again.pt").string();
  ASSERT_TRUE(save_torchscript(*network.module, again.file).ok());
  const Network loaded = make(again);
  EXPECT_TRUE(loaded.module->is_training());
  loaded.module->eval();
  EXPECT_TRUE(at::equal(loaded.forward(batch.x), network.forward(batch.x)));
}

TEST_F(TorchscriptTest, AParameterInTwoPlacesIsOne) {
  Script inner("Inner");
  const at::Tensor weight = trained(at::ones({3, 3}));
  inner.register_parameter("weight", weight, false);
  inner.register_attribute("training", c10::BoolType::get(), true);
  inner.define("def forward(self, x):\n  return torch.matmul(x, self.weight)\n");
  Script root("Outer");
  root.register_parameter("tied", weight, false);
  root.register_module("inner", inner);
  root.register_attribute("training", c10::BoolType::get(), true);
  root.define("def forward(self, x):\n  return self.inner.forward(torch.matmul(x, self.tied))\n");
  const Network network = make(save(root));
  EXPECT_EQ(network.module->parameters().size(), 1U);
  network.module->parameters().front().set_data(at::zeros({3, 3}) + 2);
  EXPECT_EQ(network.forward(at::ones({1, 3})).sum().item<float>(), 3 * 36);
}

TEST_F(TorchscriptTest, WhatCannotBeTrainedIsNamed) {
  job::Model model;
  model.kind = "torchscript";
  model.file = (folder_ / "none.pt").string();
  EXPECT_NE(load_torchscript(model, model.file).error().message.find("none.pt"), std::string::npos);
  std::ofstream(model.file) << "no zip";
  const auto broken = load_torchscript(model, model.file);
  EXPECT_EQ(broken.error().kind, ErrorKind::kInvalid);
  EXPECT_NE(broken.error().message.find("does not load as TorchScript"), std::string::npos);
  model.file_sha256 = sha256_hex("other");
  const auto other = load_torchscript(model, model.file);
  EXPECT_EQ(other.error().kind, ErrorKind::kMismatch);
  EXPECT_NE(other.error().message.find(sha256_hex("no zip")), std::string::npos);

  const auto says = [this](const Script& script, const std::string& part) {
    const std::string message = refusal(script);
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find(".pt"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  };
  says(one_line("def forward(self, x):\n  return x\n", false), "no parameters to train");
  says(one_line("def forward(self, x, y):\n  return x + y\n"), "takes (Tensor, Tensor)");
  says(one_line("def forward(self, x: int):\n  return self.weight * x\n"), "takes (int)");
  says(one_line("def forward(self, x):\n  return x, x\n"), "returns (Tensor, Tensor)");
  says(one_line("def apply(self, x):\n  return x\n"), "no forward()");
  Script half("Half");
  half.register_parameter("weight", at::ones({3}).to(at::kHalf), false);
  half.register_attribute("training", c10::BoolType::get(), true);
  half.define("def forward(self, x):\n  return x\n");
  says(half, "weight is CPUHalfType");
}

TEST_F(TorchscriptTest, WhatGoesWrongWithinNamesTheFile) {
  const auto thrown = [this](const std::string& forward) -> std::string {
    const Network network = make(save(one_line(forward)));
    try {
      network.forward(at::ones({4, 3}));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_NE(thrown("def forward(self, x):\n  return x.sum(0)\n").find("for a batch of 4 samples"),
            std::string::npos);
  const std::string inside = thrown("def forward(self, x):\n  return x.view(7, 7)\n");
  EXPECT_NE(inside.find(".pt: shape '[7, 7]' is invalid"), std::string::npos) << inside;
}

}  // namespace
}  // namespace instep::model
