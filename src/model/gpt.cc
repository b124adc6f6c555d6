#include "model/gpt.h"

#include <ATen/ops/dropout.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <cmath>

namespace instep::model {
namespace {

constexpr double kDeviation = 0.02;

torch::nn::Linear projection(std::int64_t in, std::int64_t out, double deviation,
                             bool bias = true) {
  torch::nn::Linear layer(torch::nn::LinearOptions(in, out).bias(bias));
  torch::nn::init::normal_(layer->weight, 0, deviation);
  if (bias) torch::nn::init::zeros_(layer->bias);
  return layer;
}

torch::nn::Embedding table(std::int64_t rows, std::int64_t width) {
  torch::nn::Embedding layer(rows, width);
  torch::nn::init::normal_(layer->weight, 0, kDeviation);
  return layer;
}

torch::nn::LayerNorm norm(std::int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}));
}

// Of a projection that adds to the residual stream: each layer adds two.
double residual_deviation(const job::Model& model) {
  return kDeviation / std::sqrt(2.0 * static_cast<double>(model.layers.front()));
}

class Attention : public torch::nn::Module {
 public:
  explicit Attention(const job::Model& model)
      : heads_(model.heads),
        dropout_(model.dropout),
        c_attn_(register_module("c_attn", projection(model.width, 3 * model.width, kDeviation))),
        c_proj_(register_module("c_proj",
                                projection(model.width, model.width, residual_deviation(model)))) {}

  at::Tensor forward(const at::Tensor& x) {
    const std::int64_t width = x.size(2);
    // Unbound, not selected: the gradient is then put together by one copy.
    const std::vector<at::Tensor> parts =
        c_attn_->forward(x).view({x.size(0), x.size(1), 3, heads_, width / heads_}).unbind(2);
    const at::Tensor y =
        at::scaled_dot_product_attention(parts[0].transpose(1, 2), parts[1].transpose(1, 2),
                                         parts[2].transpose(1, 2), {},
                                         is_training() ? dropout_ : 0.0, /*is_causal=*/true)
            .transpose(1, 2)
            .reshape(x.sizes());
    return at::dropout(c_proj_->forward(y), dropout_, is_training());
  }

 private:
  std::int64_t heads_;
  double dropout_;
  torch::nn::Linear c_attn_, c_proj_;
};

class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(const job::Model& model)
      : dropout_(model.dropout),
        c_fc_(register_module("c_fc", projection(model.width, 4 * model.width, kDeviation))),
        c_proj_(register_module(
            "c_proj", projection(4 * model.width, model.width, residual_deviation(model)))) {}

  at::Tensor forward(const at::Tensor& x) {
    return at::dropout(c_proj_->forward(at::gelu(c_fc_->forward(x))), dropout_, is_training());
  }

 private:
  double dropout_;
  torch::nn::Linear c_fc_, c_proj_;
};

class DecoderLayer : public torch::nn::Module {
 public:
  explicit DecoderLayer(const job::Model& model)
      : ln_1_(register_module("ln_1", norm(model.width))),
        attn_(register_module("attn", std::make_shared<Attention>(model))),
        ln_2_(register_module("ln_2", norm(model.width))),
        mlp_(register_module("mlp", std::make_shared<FeedForward>(model))) {}

  // Not in place: under autocast the parts are bf16, and the stream stays fp32.
  at::Tensor forward(const at::Tensor& stream) {
    const at::Tensor x = stream + attn_->forward(ln_1_->forward(stream));
    return x + mlp_->forward(ln_2_->forward(x));
  }

 private:
  torch::nn::LayerNorm ln_1_;
  std::shared_ptr<Attention> attn_;
  torch::nn::LayerNorm ln_2_;
  std::shared_ptr<FeedForward> mlp_;
};

class Transformer : public torch::nn::Module {
 public:
  explicit Transformer(const job::Model& model)
      : dropout_(model.dropout),
        wte_(register_module("wte", table(model.vocabulary, model.width))),
        wpe_(register_module("wpe", table(model.context, model.width))),
        h_(register_module("h", torch::nn::ModuleList())),
        ln_f_(register_module("ln_f", norm(model.width))) {
    for (std::int64_t i = 0; i < model.layers.front(); ++i) {
      h_->push_back(std::make_shared<DecoderLayer>(model));
    }
  }

  at::Tensor forward(const at::Tensor& tokens) {
    const std::int64_t length = tokens.size(1);
    TORCH_CHECK(length <= wpe_->weight.size(0), "a sample has ", length,
                " tokens and the model looks back on ", wpe_->weight.size(0), " (model.context)");
    at::Tensor x = wte_->forward(tokens) + wpe_->weight.narrow(0, 0, length);
    x = at::dropout(x, dropout_, is_training());
    for (const auto& layer : *h_) x = layer->as<DecoderLayer>()->forward(x);
    return ln_f_->forward(x);
  }

 private:
  double dropout_;
  torch::nn::Embedding wte_, wpe_;
  torch::nn::ModuleList h_;
  torch::nn::LayerNorm ln_f_;
};

class Gpt : public torch::nn::Module {
 public:
  explicit Gpt(const job::Model& model)
      : transformer_(register_module("transformer", std::make_shared<Transformer>(model))),
        lm_head_(register_module("lm_head",
                                 projection(model.width, model.vocabulary, kDeviation, false))) {}

  at::Tensor forward(const at::Tensor& tokens) {
    return lm_head_->forward(transformer_->forward(tokens));
  }

 private:
  std::shared_ptr<Transformer> transformer_;
  torch::nn::Linear lm_head_;
};

}  // namespace

Network make_gpt(const job::Model& model) {
  auto network = std::make_shared<Gpt>(model);
  return {network, [network](const at::Tensor& x) { return network->forward(x); }};
}

}  // namespace instep::model
