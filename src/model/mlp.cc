#include "model/mlp.h"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

namespace instep::model {

Network make_mlp(const job::Model& model) {
  torch::nn::Sequential network;
  for (std::size_t i = 0; i + 1 < model.layers.size(); ++i) {
    if (i > 0) {
      switch (model.activation) {
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
    network->push_back(torch::nn::Linear(model.layers[i], model.layers[i + 1]));
  }
  return {network.ptr(),
          [network](const at::Tensor& x) mutable { return network->forward(x.flatten(1)); }};
}

}  // namespace instep::model
