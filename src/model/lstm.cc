#include "model/lstm.h"

#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/rnn.h>

namespace instep::model {
namespace {

class Lstm : public torch::nn::Module {
 public:
  explicit Lstm(const job::Model& model) : inputs_(model.inputs) {
    const bool tokens = inputs_ == 0;
    const std::int64_t layers = model.layers.front();
    if (tokens) {
      embedding_ =
          register_module("embedding", torch::nn::Embedding(model.vocabulary, model.width));
    }
    // One layer has no between; torch warns of a dropout there.
    lstm_ = register_module(
        "lstm", torch::nn::LSTM(torch::nn::LSTMOptions(tokens ? model.width : inputs_, model.width)
                                    .num_layers(layers)
                                    .batch_first(true)
                                    .dropout(layers > 1 ? model.dropout : 0.0)));
    head_ = register_module(
        "head", torch::nn::Linear(model.width, tokens ? model.vocabulary : model.outputs));
  }

  at::Tensor forward(const at::Tensor& x) {
    if (inputs_ == 0) {
      return head_->forward(std::get<0>(lstm_->forward(embedding_->forward(x))));
    }
    const at::Tensor steps = x.reshape({x.size(0), -1, inputs_});
    return head_->forward(std::get<0>(lstm_->forward(steps)).select(1, -1));
  }

 private:
  std::int64_t inputs_;
  torch::nn::Embedding embedding_{nullptr};
  torch::nn::LSTM lstm_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

Network make_lstm(const job::Model& model) {
  auto network = std::make_shared<Lstm>(model);
  return {network, [network](const at::Tensor& x) { return network->forward(x); }};
}

}  // namespace instep::model
