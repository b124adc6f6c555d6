#include "model/read_gate.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/jit.h>

#include <numeric>
#include <vector>

namespace instep::model {
namespace {

constexpr std::uint64_t kElements = 4096;

// A matrix of 8 times 64 at element 1024, and a vector of 8 at 2048. They lie in memory that is
// filled when somebody is about to read it.
class ReadGateTest : public ::testing::Test {
 protected:
  ReadGateTest() : flat_(kElements, -1.0F), truth_(kElements) {
    std::iota(truth_.begin(), truth_.end(), 1.0F);
    at::manual_seed(3);
    input_ = at::randn({5, 64});
  }
  at::Tensor weight(std::vector<float>& of) { return at::from_blob(&of[1024], {8, 64}); }
  at::Tensor bias(std::vector<float>& of) { return at::from_blob(&of[2048], {8}); }

  // What `read` gives with the truth, and with what comes when it is announced.
  void expect_same(const std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>& read) {
    const at::Tensor expected = read(weight(truth_), bias(truth_));
    const at::Tensor matrix = weight(flat_), vector = bias(flat_);
    at::Tensor got;
    {
      const ReadGate gate(flat_.data(), kElements, [this](const reduce::Range& range) {
        heard_.push_back(range);
        // Ops of the listener's own, of which nothing is heard.
        at::from_blob(&flat_[range.begin], {static_cast<std::int64_t>(range.count)})
            .copy_(at::from_blob(&truth_[range.begin], {static_cast<std::int64_t>(range.count)}));
      });
      got = read(matrix, vector);
    }
    EXPECT_TRUE(at::equal(expected, got));
  }
  bool heard(std::uint64_t begin, std::uint64_t count) const {
    return std::any_of(heard_.begin(), heard_.end(), [&](const reduce::Range& it) {
      return it.begin == begin && it.count == count;
    });
  }

  std::vector<float> flat_, truth_;
  at::Tensor input_;
  std::vector<reduce::Range> heard_;
};

TEST_F(ReadGateTest, AnOpsInputsAreAnnouncedBeforeItReads) {
  expect_same([this](const at::Tensor& matrix, const at::Tensor& vector) {
    return at::linear(input_, matrix, vector);
  });
  EXPECT_TRUE(heard(1024, 512));
  EXPECT_TRUE(heard(2048, 8));
}

TEST_F(ReadGateTest, ListsAndViewsAreLookedInto) {
  expect_same([](const at::Tensor& matrix, const at::Tensor& vector) {
    return at::cat({vector, matrix.t().select(0, 3)});
  });
  EXPECT_TRUE(heard(1024, 512));
  EXPECT_TRUE(heard(2048, 8));
}

TEST_F(ReadGateTest, WithAutogradToo) {
  expect_same([this](const at::Tensor& matrix, const at::Tensor& vector) {
    matrix.set_requires_grad(true);
    at::addmm(vector, input_, matrix.t()).sum().backward();
    return at::cat({matrix.grad().flatten(), vector});
  });
}

TEST_F(ReadGateTest, ScriptsOpsAreAnnounced) {
  const auto unit = torch::jit::compile(R"(
def run(input, matrix, vector):
    out = torch.matmul(input, matrix.t())
    for item in [out, vector]:
        out = out + item.sum()
    return out * vector
)");
  expect_same([&](const at::Tensor& matrix, const at::Tensor& vector) {
    return unit->run_method("run", input_, matrix, vector).toTensor();
  });
  EXPECT_TRUE(heard(1024, 512));
  EXPECT_TRUE(heard(2048, 8));
}

TEST_F(ReadGateTest, OtherMemoryIsNobodysBusiness) {
  const ReadGate gate(flat_.data(), kElements,
                      [this](const reduce::Range& range) { heard_.push_back(range); });
  (void)(input_ + input_).sum();
  EXPECT_TRUE(heard_.empty());
}

TEST_F(ReadGateTest, NothingIsHeardAfterItsEnd) {
  const at::Tensor matrix = weight(flat_);
  {
    const ReadGate gate(flat_.data(), kElements,
                        [this](const reduce::Range& range) { heard_.push_back(range); });
  }
  (void)matrix.sum();
  EXPECT_TRUE(heard_.empty());
}

}  // namespace
}  // namespace instep::model
