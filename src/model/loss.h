// The losses that a job can name, and instep::losses with them.
#pragma once

#include "job/job.h"

namespace at {
class Tensor;
}

namespace instep::model {

// Mean losses of a batch, scalars. Cross-entropy takes class numbers ([batch], or [batch, tokens]
// with outputs [batch, tokens, classes]); the others take floats of the outputs' shape.
at::Tensor cross_entropy(const at::Tensor& output, const at::Tensor& target, double smoothing);
at::Tensor mse(const at::Tensor& output, const at::Tensor& target);
at::Tensor huber(const at::Tensor& output, const at::Tensor& target, double delta);
at::Tensor bce_with_logits(const at::Tensor& output, const at::Tensor& target);

// The job's, as it trains, and as evaluations tell it: without label smoothing.
at::Tensor loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target);
at::Tensor measured_loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target);

}  // namespace instep::model
