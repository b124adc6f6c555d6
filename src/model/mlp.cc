#include "model/mlp.h"

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

namespace instep::model {

namespace F = torch::nn::functional;

at::Tensor Network::forward(const at::Tensor& x) const {
  return static_cast<torch::nn::SequentialImpl&>(*module).forward(x.flatten(1));
}

Network make_mlp(const std::vector<std::int64_t>& layers, job::Activation activation) {
  torch::nn::Sequential network;
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) {
    if (i > 0) {
      switch (activation) {
        case job::Activation::kRelu:
          network->push_back(torch::nn::ReLU());
          break;
        case job::Activation::kTanh:
          network->push_back(torch::nn::Tanh());
          break;
        case job::Activation::kSigmoid:
          network->push_back(torch::nn::Sigmoid());
          break;
        case job::Activation::kGelu:
          network->push_back(torch::nn::GELU());
          break;
      }
    }
    network->push_back(torch::nn::Linear(layers[i], layers[i + 1]));
  }
  return {network.ptr()};
}

at::Tensor loss(job::Loss kind, const at::Tensor& output, const at::Tensor& target) {
  switch (kind) {
    case job::Loss::kCrossEntropy:
      return F::cross_entropy(output, target);
    case job::Loss::kMse:
      return F::mse_loss(output, target.view_as(output));
    case job::Loss::kBce:
      return F::binary_cross_entropy_with_logits(output, target.view_as(output));
  }
  return {};
}

std::int64_t correct(job::Loss kind, const at::Tensor& output, const at::Tensor& target) {
  switch (kind) {
    case job::Loss::kCrossEntropy:
      return output.argmax(1).eq(target).sum().item<std::int64_t>();
    case job::Loss::kBce:
      return output.gt(0).eq(target.view_as(output).gt(0.5)).all(1).sum().item<std::int64_t>();
    case job::Loss::kMse:
      return -1;
  }
  return -1;
}

}  // namespace instep::model
