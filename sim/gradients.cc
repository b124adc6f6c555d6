#include "gradients.h"

#include "base/result.h"
#include "reduce/kernels.h"
#include "round/part.h"

namespace instep::sim {

void Gradients::begin_round() {
  for (auto& stack : stacks_) {
    for (float* values : stack) arena_.give_back(values);
    stack.clear();
  }
  done_ = 0;
}

void Gradients::compute(std::uint32_t shard, std::uint64_t round, std::uint64_t counts,
                        const float* parameters) {
  for (std::size_t t = 0; t < stacks_.size(); ++t) {
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
  }
  ++done_;
}

const std::vector<std::uint64_t>& Gradients::offsets() {
  offsets_.clear();
  for (std::size_t node = 0; node < nodes().size(); ++node) {
    for (const auto& stack : stacks_) {
      const float* values = stack[node];
      offsets_.push_back(values == nullptr ? round::kAbsent : arena_.offset(values));
    }
  }
  return offsets_;
}

}  // namespace instep::sim
