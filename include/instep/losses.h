// Losses and what they say about a network's outputs, for Trainer and Run::evaluate.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace at {
class Tensor;
}

namespace instep {

// What a network's outputs mean; metrics are computed by it.
enum class Outputs {
  kUnknown,        // only the loss can be measured
  kClasses,        // [n, …, classes] scores, the largest is the answer; targets [n, …] int64
  kLogits,         // [n, …], above 0 is yes; targets 0 or 1, float32 or int64
  kProbabilities,  // the same with 0.5, between 0 and 1
  kValues,         // [n, …]; targets float32 of that shape
};

// What an evaluation found, by name: "loss", "accuracy", "top_5", "precision", "recall", "f1",
// "auc", "mae", "perplexity". What is not defined for the data (the auc of one class) is left out.
using Metrics = std::map<std::string, double>;

using LossFunction = std::function<at::Tensor(const at::Tensor& output, const at::Tensor& target)>;

// A loss of a program's own is any callable from outputs and targets to their mean loss, a scalar;
// with `outputs` it can be measured by metrics too.
struct Loss {
  LossFunction train;
  Outputs outputs = Outputs::kUnknown;
  LossFunction measure;        // without label smoothing; empty: as in training
  double label_smoothing = 0;  // as in the job's keys, for the record
  double huber_delta = 0;      // 0: no Huber loss
  bool cross_entropy = false;  // `measure` is the mean cross-entropy, whose exp is the perplexity

  Loss() = default;
  template <class Call>
  requires(!std::same_as<std::remove_cvref_t<Call>, Loss> &&
           std::convertible_to<Call, LossFunction>)
      Loss(Call call, Outputs meaning = Outputs::kUnknown)  // NOLINT(google-explicit-constructor)
      : train(std::move(call)), outputs(meaning) {}
};

namespace losses {

struct CrossEntropyOptions {
  double label_smoothing = 0;  // from 0, below 1
};
struct HuberOptions {
  double delta = 1;  // above 0
};

// Scores [n, …, classes] against class numbers.
Loss cross_entropy(const CrossEntropyOptions& options = {});
// Probabilities, of a network that ends in a sigmoid, against 0 and 1.
Loss binary_cross_entropy();
// The same on what comes before the sigmoid, which is more exact.
Loss bce_with_logits();
Loss mse();
Loss huber(const HuberOptions& options = {});

}  // namespace losses
}  // namespace instep
