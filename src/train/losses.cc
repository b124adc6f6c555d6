#include "instep/losses.h"

#include <torch/nn/functional/loss.h>

#include "model/loss.h"

namespace instep::losses {
namespace {

namespace F = torch::nn::functional;

// Class numbers 0 and 1 are taken as floats.
at::Tensor like(const at::Tensor& target, const at::Tensor& output) {
  return target.to(output.scalar_type()).view_as(output);
}

}  // namespace

Loss cross_entropy(const CrossEntropyOptions& options) {
  Loss loss(
      [smoothing = options.label_smoothing](const at::Tensor& output, const at::Tensor& target) {
        return model::cross_entropy(output, target, smoothing);
      },
      Outputs::kClasses);
  loss.measure = [](const at::Tensor& output, const at::Tensor& target) {
    return model::cross_entropy(output, target, 0);
  };
  loss.label_smoothing = options.label_smoothing;
  loss.cross_entropy = true;
  return loss;
}

Loss binary_cross_entropy() {
  return {[](const at::Tensor& output, const at::Tensor& target) {
            return F::binary_cross_entropy(output, like(target, output));
          },
          Outputs::kProbabilities};
}

Loss bce_with_logits() {
  return {[](const at::Tensor& output, const at::Tensor& target) {
            return model::bce_with_logits(output, like(target, output));
          },
          Outputs::kLogits};
}

Loss mse() {
  return {[](const at::Tensor& output, const at::Tensor& target) {
            return model::mse(output, like(target, output));
          },
          Outputs::kValues};
}

Loss huber(const HuberOptions& options) {
  Loss loss(
      [delta = options.delta](const at::Tensor& output, const at::Tensor& target) {
        return model::huber(output, like(target, output), delta);
      },
      Outputs::kValues);
  loss.huber_delta = options.delta;
  return loss;
}

}  // namespace instep::losses
