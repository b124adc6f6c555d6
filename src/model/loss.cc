#include "model/loss.h"

#include <torch/nn/functional/loss.h>

namespace instep::model {

namespace F = torch::nn::functional;

at::Tensor loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target) {
  switch (job.loss) {
    case job::Loss::kCrossEntropy:
      return F::cross_entropy(output.flatten(0, -2), target.flatten(),
                              F::CrossEntropyFuncOptions().label_smoothing(job.label_smoothing));
    case job::Loss::kMse:
      return F::mse_loss(output, target.view_as(output));
    case job::Loss::kHuber:
      return F::huber_loss(output, target.view_as(output),
                           F::HuberLossFuncOptions().delta(job.huber_delta));
    case job::Loss::kBce:
      return F::binary_cross_entropy_with_logits(output, target.view_as(output));
  }
  return {};
}

std::int64_t correct(job::Loss kind, const at::Tensor& output, const at::Tensor& target) {
  switch (kind) {
    case job::Loss::kCrossEntropy:
      return output.argmax(-1).eq(target).sum().item<std::int64_t>();
    case job::Loss::kBce:
      return output.gt(0).eq(target.view_as(output).gt(0.5)).all(1).sum().item<std::int64_t>();
    case job::Loss::kMse:
    case job::Loss::kHuber:
      return -1;
  }
  return -1;
}

}  // namespace instep::model
