// What tests of instep::Run share: a program's arguments, a data set, copies of parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <torch/nn/module.h>

#include <string>
#include <utility>
#include <vector>

namespace instep {

// argc and argv of a program that was started with these words.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words = {}) : words_(std::move(words)) {
    words_.insert(words_.begin(), "program");
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  int argc() const { return static_cast<int>(words_.size()); }
  char** argv() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

struct Samples {
  explicit Samples(std::int64_t count) : x(at::randn({count, 20})) {
    y = at::randint(0, 5, {count}, at::kLong);
  }
  at::Tensor x, y;  // [count, 20] float32, [count] classes 0 to 4
};

inline at::Tensor flat_parameters(const torch::nn::Module& module) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& p : module.parameters()) flat.push_back(p.detach().flatten());
  return at::cat(flat);
}

inline void copy_parameters(const torch::nn::Module& from, torch::nn::Module& to) {
  const at::NoGradGuard guard;
  const auto source = from.parameters();
  const auto target = to.parameters();
  for (std::size_t i = 0; i < source.size(); ++i) target[i].copy_(source[i]);
}

}  // namespace instep
