#include "model/loss.h"

#include <torch/nn/functional/loss.h>

namespace instep::model {

namespace F = torch::nn::functional;

at::Tensor cross_entropy(const at::Tensor& output, const at::Tensor& target, double smoothing) {
  return F::cross_entropy(output.flatten(0, -2), target.flatten(),
                          F::CrossEntropyFuncOptions().label_smoothing(smoothing));
}

at::Tensor mse(const at::Tensor& output, const at::Tensor& target) {
  return F::mse_loss(output, target.view_as(output));
}

at::Tensor huber(const at::Tensor& output, const at::Tensor& target, double delta) {
  return F::huber_loss(output, target.view_as(output), F::HuberLossFuncOptions().delta(delta));
}

at::Tensor bce_with_logits(const at::Tensor& output, const at::Tensor& target) {
  return F::binary_cross_entropy_with_logits(output, target.view_as(output));
}

at::Tensor loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target) {
  switch (job.loss) {
    case job::Loss::kCrossEntropy:
      return cross_entropy(output, target, job.label_smoothing);
    case job::Loss::kMse:
      return mse(output, target);
    case job::Loss::kHuber:
      return huber(output, target, job.huber_delta);
    case job::Loss::kBce:
      return bce_with_logits(output, target);
  }
  return {};
}

at::Tensor measured_loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target) {
  return job.loss == job::Loss::kCrossEntropy ? cross_entropy(output, target, 0)
                                              : loss(job, output, target);
}

}  // namespace instep::model
