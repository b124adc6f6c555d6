#include "gradients.h"

#include "base/result.h"
#include "reduce/kernels.h"

namespace instep::sim {

void Gradients::begin_round() {
  for (auto& stack : stacks_) {
    for (float* values : stack) arena_.give_back(values);
    stack.clear();
  }
  done_ = 0;
  settled_ = nullptr;
}

const std::vector<std::uint64_t>& Gradients::open(Settled settled) {
  settled_ = std::move(settled);
  offsets_.clear();
  for (std::size_t node = 0; node + 1 < nodes().size(); ++node) {
    for (const auto& stack : stacks_) offsets_.push_back(offset_of(stack[node]));
  }
  offsets_.resize(nodes().size() * stacks_.size(), fabric::Arena::kPending);
  return offsets_;
}

std::uint64_t Gradients::offset_of(const float* values) const {
  return values == nullptr ? fabric::Arena::kAbsent : arena_.offset(values);
}

void Gradients::compute(std::uint32_t shard, std::uint64_t round, std::uint64_t counts,
                        const float* parameters) {
  // The last tensor first, as a backward pass goes.
  for (std::size_t t = stacks_.size(); t-- > 0;) {
    auto& stack = stacks_[t];
    float* values = nullptr;
    const std::uint64_t count = job_.space.tensors()[t].count;
    if (job_.present(t, shard, round)) {
      values = static_cast<float*>(arena_.take(count * sizeof(float)));
      INSTEP_CHECK(values != nullptr, "an arena holds its gradients");
      job_.contribution(t, shard, round, counts, parameters, values);
    }
    stack.push_back(values);
    for (std::uint32_t merge = 0; merge < merges_.after(done_); ++merge) {
      float* right = stack.back();
      stack.pop_back();
      float*& left = stack.back();
      if (left == nullptr) {
        left = right;
      } else if (right != nullptr) {
        reduce::add(left, left, right, count);
        arena_.give_back(right);
      }
    }
    if (settled_) settled_((stack.size() - 1) * stacks_.size() + t, offset_of(stack.back()));
  }
  ++done_;
  settled_ = nullptr;
}

const std::vector<std::uint64_t>& Gradients::offsets() {
  offsets_.clear();
  for (std::size_t node = 0; node < nodes().size(); ++node) {
    for (const auto& stack : stacks_) offsets_.push_back(offset_of(stack[node]));
  }
  return offsets_;
}

}  // namespace instep::sim
