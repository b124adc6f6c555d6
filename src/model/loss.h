// The losses that a job can name.
#pragma once

#include <cstdint>

#include "job/job.h"

namespace at {
class Tensor;
}

namespace instep::model {

// Mean loss of a batch, a scalar. Cross-entropy takes class numbers ([batch], or [batch, tokens]
// with outputs [batch, tokens, classes]); mse, huber and bce take floats of the outputs' shape
// (bce: on logits).
at::Tensor loss(const job::Job& job, const at::Tensor& output, const at::Tensor& target);
// How many of the batch are right (class of the largest output; bce: side of zero). -1: no such
// thing.
std::int64_t correct(job::Loss kind, const at::Tensor& output, const at::Tensor& target);

}  // namespace instep::model
