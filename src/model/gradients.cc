#include "model/gradients.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "reduce/kernels.h"

namespace instep::model {

// What autograd calls once a backward() has finished a parameter's gradient.
class Gradients::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(Gradients* owner, std::size_t parameter) : owner_(owner), parameter_(parameter) {}
  void operator()(const torch::autograd::Variable& /*tensor*/) override {
    if (owner_->last_part_) owner_->take(parameter_);
  }

 private:
  Gradients* owner_;
  std::size_t parameter_;
};

Gradients::Gradients(std::vector<at::Tensor> parameters, bool carried, const fabric::Arena& arena)
    : arena_(arena), parameters_(std::move(parameters)) {
  stacks_.resize(parameters_.size() + (carried ? 1 : 0));
  seen_.resize(stacks_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i], std::make_unique<Hook>(this, i));
  }
}

Gradients::~Gradients() {
  for (const at::Tensor& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

void Gradients::begin_round() {
  for (auto& stack : stacks_) stack.clear();
  std::fill(seen_.begin(), seen_.end(), 0);
  shard_ = 0;
  settled_ = nullptr;
}

void Gradients::begin_shard(float weight) {
  ++shard_;
  weight_ = weight;
  last_part_ = true;
  for (const at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

void Gradients::take(std::size_t parameter) {
  at::Tensor gradient = std::move(parameters_[parameter].mutable_grad());
  parameters_[parameter].mutable_grad().reset();
  TORCH_CHECK(gradient.scalar_type() == at::kFloat && gradient.layout() == at::kStrided,
              "a gradient is ", gradient.toString(), "; instep combines dense float32 gradients");
  take_values(parameter, std::move(gradient));
}

void Gradients::take_values(std::size_t tensor, at::Tensor values) {
  // A gradient that autograd took over from elsewhere may be a view, or lie outside the arena.
  if (!values.is_contiguous() || !arena_.contains(values.const_data_ptr())) {
    at::Tensor copy = at::empty(values.sizes(), values.options());
    copy.copy_(values);
    values = std::move(copy);
  }
  if (weight_ != 1.0F) {
    reduce::scale(values.mutable_data_ptr<float>(), weight_,
                  static_cast<std::size_t>(values.numel()));
  }
  seen_[tensor] = shard_;
  push(tensor, std::move(values));
}

void Gradients::push(std::size_t tensor, at::Tensor values) {
  auto& stack = stacks_[tensor];
  stack.push_back(std::move(values));
  for (std::uint32_t merge = 0; merge < merges_.after(shard_ - 1); ++merge) {
    const at::Tensor right = std::move(stack.back());
    stack.pop_back();
    at::Tensor& left = stack.back();
    if (!left.defined()) {
      left = right;
    } else if (right.defined()) {
      auto* sum = left.mutable_data_ptr<float>();
      reduce::add(sum, sum, right.const_data_ptr<float>(), static_cast<std::size_t>(left.numel()));
    }
  }
  if (settled_) settled_((stack.size() - 1) * stacks_.size() + tensor, offset_of(stack.back()));
}

std::uint64_t Gradients::offset_of(const at::Tensor& gradient) const {
  return gradient.defined() ? arena_.offset(gradient.const_data_ptr()) : fabric::Arena::kAbsent;
}

// The last shard is of the last node.
const std::vector<std::uint64_t>& Gradients::open(Settled settled) {
  settled_ = std::move(settled);
  offsets_.clear();
  for (std::size_t node = 0; node + 1 < nodes().size(); ++node) {
    for (const auto& stack : stacks_) offsets_.push_back(offset_of(stack[node]));
  }
  offsets_.resize(nodes().size() * stacks_.size(), fabric::Arena::kPending);
  return offsets_;
}

void Gradients::end_shard() {
  for (std::size_t i = 0; i < stacks_.size(); ++i) {
    if (seen_[i] == shard_) continue;
    // Only an earlier part of the shard's samples may have used it.
    if (i < parameters_.size() && parameters_[i].grad().defined()) {
      take(i);
    } else {
      push(i, at::Tensor());
    }
  }
  settled_ = nullptr;
}

const std::vector<std::uint64_t>& Gradients::offsets() {
  offsets_.clear();
  for (std::size_t node = 0; node < nodes().size(); ++node) {
    for (const auto& stack : stacks_) offsets_.push_back(offset_of(stack[node]));
  }
  return offsets_;
}

}  // namespace instep::model
