#include "workload.h"

#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <torch/nn/module.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "model/loss.h"

namespace instep::bench {
namespace {

job::Model model_of(const std::string& name) {
  job::Model model;
  model.kind = name == "mnist" || name == "wide" ? "mlp" : name;
  if (name == "mnist") model.layers = {784, 64, 10};
  if (name == "wide") model.layers = {1024, 4096, 4096, 1000};
  if (name == "gpt") model.layers = {4};
  return model;
}

std::unique_ptr<torch::optim::Optimizer> optimizer_of(const std::string& name,
                                                      const std::vector<at::Tensor>& parameters) {
  if (name == "mnist") return std::make_unique<torch::optim::Adam>(parameters, 1e-3);
  if (name == "wide") return std::make_unique<torch::optim::SGD>(parameters, 0.01);
  if (name == "gpt") return std::make_unique<torch::optim::AdamW>(parameters, 3e-4);
  return std::make_unique<torch::optim::SGD>(
      parameters, torch::optim::SGDOptions(0.01).momentum(0.9).nesterov(true));
}

}  // namespace

at::Tensor Workload::loss() const { return model::loss(job, network.forward(data), target); }

bool known(const std::string& name) {
  return name == "mnist" || name == "wide" || name == "resnet20" || name == "gpt";
}

Workload make_workload(const std::string& name, std::int64_t samples) {
  Workload work;
  work.job.model = model_of(name);
  work.network = model::make_network(work.job.model).take();
  work.network.module->train();
  work.optimizer = optimizer_of(name, work.network.module->parameters());
  const job::Model& model = work.job.model;
  if (model.kind == "gpt") {
    work.data = at::randint(0, model.vocabulary, {samples, model.context}, at::kLong);
    work.target = at::randint(0, model.vocabulary, {samples, model.context}, at::kLong);
  } else {
    const bool images = model.kind == "resnet20";
    work.data =
        images ? at::randn({samples, 3, 32, 32}) : at::randn({samples, model.layers.front()});
    const std::int64_t classes = images ? model.outputs : model.layers.back();
    work.target = at::randint(0, classes, {samples}, at::kLong);
  }
  return work;
}

}  // namespace instep::bench
