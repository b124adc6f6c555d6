// Metrics against counting by hand, and put together from any number of members.
#include "train/metrics.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "reduce/kernels.h"

namespace instep::train {
namespace {

using Values = std::vector<std::vector<double>>;  // [samples][columns]

struct Given {
  at::Tensor output, target;
};

// Bit for bit, a NaN included.
bool same(const Metrics& a, const Metrics& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first &&
           std::bit_cast<std::uint64_t>(x.second) == std::bit_cast<std::uint64_t>(y.second);
  });
}

// What each gather of an evaluation gives to everybody, played member by member: a first pass with
// what is not known yet left empty tells what the next gather holds.
class Members {
 public:
  Members(const MetricSpec& spec, const std::vector<Given>& batches, std::size_t count) {
    std::int64_t samples = 0;
    for (const Given& batch : batches) samples += batch.target.size(0);
    for (std::size_t member = 0; member < count; ++member) {
      parts_.emplace_back(spec, static_cast<std::uint64_t>(samples));
      for (std::size_t i = batches.size() * member / count;
           i < batches.size() * (member + 1) / count; ++i) {
        // Any loss: this one tells batches apart.
        const double loss = 0.1 * static_cast<double>(i + 1);
        const Status added = parts_.back().add(batches[i].output, batches[i].target, loss);
        if (!added.ok()) error_ = added.error().message;
      }
    }
    batches_ = batches.size();
  }

  Metrics combine() {
    EXPECT_EQ(error_, "");
    Metrics out;
    while (true) {
      bool whole = true;
      std::vector<std::vector<std::byte>> next;
      for (std::size_t member = 0; member < parts_.size(); ++member) {
        std::size_t calls = 0;
        const auto found = parts_[member].combine(
            batches_, member, parts_.size(),
            [&](std::span<const std::byte> mine)
                -> Result<std::vector<std::span<const std::byte>>> {
              if (calls < told_.size()) {
                const auto& parts = told_[calls++];
                return std::vector<std::span<const std::byte>>(parts.begin(), parts.end());
              }
              next.emplace_back(mine.begin(), mine.end());
              return Error{ErrorKind::kUnavailable, "not yet"};
            });
        whole = whole && found.ok();
        if (!found.ok()) {
          EXPECT_EQ(found.error().message, "not yet");
          continue;
        }
        if (member > 0) {
          EXPECT_TRUE(same(out, *found));
        }
        out = *found;
      }
      if (whole) return out;
      if (next.size() != parts_.size()) return {};
      told_.push_back(std::move(next));
    }
  }
  const std::string& error() const { return error_; }

 private:
  std::vector<MetricPart> parts_;
  std::uint64_t batches_ = 0;
  std::vector<std::vector<std::vector<std::byte>>> told_;  // [gather][member]
  std::string error_;
};

// The same bits on 1, 2, 3, 5 and more members than batches.
Metrics measured(const MetricSpec& spec, const std::vector<Given>& batches) {
  const Metrics one = Members(spec, batches, 1).combine();
  for (const std::size_t count : {2, 3, 5, 11}) {
    EXPECT_TRUE(same(Members(spec, batches, count).combine(), one)) << count;
  }
  return one;
}

std::vector<Given> cut(const at::Tensor& output, const at::Tensor& target, std::int64_t batch) {
  std::vector<Given> out;
  for (std::int64_t i = 0; i < target.size(0); i += batch) {
    const std::int64_t end = std::min(i + batch, target.size(0));
    out.push_back({output.slice(0, i, end), target.slice(0, i, end)});
  }
  return out;
}

Values rows(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).flatten(0, -2).contiguous();
  Values out;
  for (std::int64_t i = 0; i < flat.size(0); ++i) {
    const auto* row = flat.const_data_ptr<double>() + i * flat.size(1);
    out.emplace_back(row, row + flat.size(1));
  }
  return out;
}

std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).flatten().contiguous();
  const auto* at = flat.const_data_ptr<double>();
  return {at, at + flat.numel()};
}

// By its definition: every pair of a yes and a no.
double area(const std::vector<double>& scores, const std::vector<bool>& yes) {
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (!yes[i] || yes[j]) continue;
      ++pairs;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  return pairs == 0 ? std::nan("") : wins / pairs;
}

struct Counted {
  double precision = 0, recall = 0, f1 = 0, classes = 0;
  void add(double actual, double predicted, double both) {
    if (actual + predicted == 0) return;
    ++classes;
    precision += predicted > 0 ? both / predicted : 0;
    recall += actual > 0 ? both / actual : 0;
    f1 += 2 * both / (actual + predicted);
  }
  void expect(const Metrics& found) const {
    EXPECT_NEAR(found.at("precision"), precision / classes, 1e-12);
    EXPECT_NEAR(found.at("recall"), recall / classes, 1e-12);
    EXPECT_NEAR(found.at("f1"), f1 / classes, 1e-12);
  }
};

const std::vector<std::string> kOfClasses = {"accuracy", "top-k", "precision", "recall",
                                             "f1",       "auc",   "perplexity"};

void check_classes(const at::Tensor& output, const at::Tensor& target, std::int64_t batch) {
  const MetricSpec spec{Outputs::kClasses, kOfClasses, 2, false};
  const Metrics found = measured(spec, cut(output, target, batch));
  const Values scores = rows(output);
  const std::vector<double> classes = list(target);
  const std::size_t width = scores[0].size();
  double right = 0, top = 0, entropy = 0;
  std::vector<double> answers;
  Values chances;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto& row = scores[i];
    const auto own = static_cast<std::size_t>(classes[i]);
    answers.push_back(double(std::max_element(row.begin(), row.end()) - row.begin()));
    right += answers[i] == classes[i] ? 1 : 0;
    int before = 0;
    for (std::size_t k = 0; k < width; ++k) {
      before += row[k] > row[own] || (row[k] == row[own] && k < own) ? 1 : 0;
    }
    top += before < 2 ? 1 : 0;
    double sum = 0;
    for (const double x : row) sum += std::exp(x);
    entropy -= row[own] - std::log(sum);
    chances.emplace_back();
    for (const double x : row) chances.back().push_back(float(x - std::log(sum)));
  }
  const auto count = static_cast<double>(scores.size());
  EXPECT_EQ(found.at("accuracy"), right / count);
  EXPECT_EQ(found.at("top_2"), top / count);
  EXPECT_NEAR(found.at("perplexity"), std::exp(entropy / count), 1e-4);
  Counted counted;
  double areas = 0, defined = 0;
  for (std::size_t k = 0; k < width; ++k) {
    double actual = 0, predicted = 0, both = 0;
    std::vector<double> column;
    std::vector<bool> yes;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double own = static_cast<double>(k);
      actual += classes[i] == own ? 1 : 0;
      predicted += answers[i] == own ? 1 : 0;
      both += classes[i] == own && answers[i] == own ? 1 : 0;
      column.push_back(chances[i][k]);
      yes.push_back(classes[i] == own);
    }
    counted.add(actual, predicted, both);
    const double one = area(column, yes);
    if (std::isnan(one)) continue;
    areas += one;
    ++defined;
  }
  counted.expect(found);
  ASSERT_EQ(found.count("auc"), defined > 0 ? 1U : 0U);
  if (defined > 0) {
    EXPECT_NEAR(found.at("auc"), areas / defined, 1e-9);
  }
}

TEST(MetricsTest, ClassesAreCountedAsByHand) {
  at::manual_seed(3);
  const at::Tensor output = at::randn({97, 6});
  // Class 5 is never a target; halves make ties.
  check_classes(output, at::randint(0, 5, {97}, at::kLong), 10);
  check_classes((output * 2).round() / 2, at::randint(0, 6, {97}, at::kLong), 13);
  check_classes(at::randn({40, 3}), at::full({40}, 1, at::kLong), 40);
}

TEST(MetricsTest, TokensCountEachByItself) {
  at::manual_seed(4);
  check_classes(at::randn({23, 5, 7}), at::randint(0, 7, {23, 5}, at::kLong), 4);
}

TEST(MetricsTest, TwoClassesHaveOneCurve) {
  at::manual_seed(5);
  const at::Tensor output = (at::randn({50, 2}) * 3).round();
  const at::Tensor target = at::randint(0, 2, {50}, at::kLong);
  const Metrics found = measured({Outputs::kClasses, {"auc"}, 5, false}, cut(output, target, 7));
  std::vector<double> scores;
  std::vector<bool> yes;
  for (std::size_t i = 0; i < 50; ++i) {
    scores.push_back(rows(output)[i][1] - rows(output)[i][0]);
    yes.push_back(list(target)[i] == 1);
  }
  EXPECT_EQ(found.at("auc"), area(scores, yes));
}

void check_yes_or_no(Outputs meaning, const at::Tensor& output, const at::Tensor& target) {
  const MetricSpec spec{meaning, {"accuracy", "precision", "recall", "f1", "auc"}, 5, false};
  const Metrics found = measured(spec, cut(output, target, 9));
  const double half = meaning == Outputs::kLogits ? 0 : 0.5;
  const Values said = rows(output.reshape({output.size(0), -1}));
  const Values due = rows(target.reshape({output.size(0), -1}));
  double right = 0, areas = 0;
  Counted counted;
  for (std::size_t i = 0; i < said.size(); ++i) {
    bool all = true;
    for (std::size_t k = 0; k < said[i].size(); ++k)
      all &= (said[i][k] > half) == (due[i][k] > 0.5);
    right += all ? 1 : 0;
  }
  for (std::size_t k = 0; k < said[0].size(); ++k) {
    double actual = 0, predicted = 0, both = 0;
    std::vector<double> column;
    std::vector<bool> yes;
    for (std::size_t i = 0; i < said.size(); ++i) {
      column.push_back(said[i][k]);
      yes.push_back(due[i][k] > 0.5);
      actual += yes[i] ? 1 : 0;
      predicted += column[i] > half ? 1 : 0;
      both += yes[i] && column[i] > half ? 1 : 0;
    }
    counted.add(actual, predicted, both);
    areas += area(column, yes);
  }
  EXPECT_EQ(found.at("accuracy"), right / static_cast<double>(said.size()));
  counted.expect(found);
  EXPECT_NEAR(found.at("auc"), areas / static_cast<double>(said[0].size()), 1e-12);
}

TEST(MetricsTest, YesOrNoIsCountedAsByHand) {
  at::manual_seed(6);
  const at::Tensor logits = (at::randn({61, 1}) * 4).round() / 4;
  const at::Tensor yes = at::rand({61, 1}).gt(0.6).to(at::kFloat);
  check_yes_or_no(Outputs::kLogits, logits, yes);
  check_yes_or_no(Outputs::kProbabilities, logits.sigmoid(), yes);
  check_yes_or_no(Outputs::kLogits, logits.flatten(), yes.flatten().to(at::kLong));
  check_yes_or_no(Outputs::kLogits, at::randn({61, 3}), at::rand({61, 3}).gt(0.5).to(at::kFloat));
}

TEST(MetricsTest, ErrorsAndLossesAreAddedInTheBatchesOrder) {
  at::manual_seed(7);
  const at::Tensor output = at::randn({100, 3}) * 1e3;
  const at::Tensor target = at::randn({100, 3});
  const Metrics found = measured({Outputs::kValues, {"mae"}, 5, false}, cut(output, target, 9));
  EXPECT_NEAR(found.at("mae"), (output - target).abs().to(at::kDouble).mean().item<double>(), 1e-4);
  std::vector<double> sums;
  for (int i = 0; i < 12; ++i) sums.push_back(0.1 * (i + 1) * (i == 11 ? 1 : 9));
  EXPECT_EQ(found.at("loss"), reduce::tree_sum(sums) / 100);
}

TEST(MetricsTest, PerplexityIsTheLosssWhereThatIsTheCrossEntropy) {
  at::manual_seed(8);
  const auto batches = cut(at::randn({8, 3, 4}), at::randint(0, 4, {8, 3}, at::kLong), 4);
  const Metrics found = measured({Outputs::kClasses, {"perplexity"}, 5, true}, batches);
  EXPECT_NEAR(found.at("perplexity"), std::exp(found.at("loss")), 1e-12);
}

TEST(MetricsTest, AnAreaThatIsNotDefinedIsLeftOut) {
  const auto batches = cut(at::randn({8, 1}), at::full({8, 1}, 1.0F), 4);
  EXPECT_EQ(measured({Outputs::kLogits, {"auc"}, 5, false}, batches).count("auc"), 0U);
}

TEST(MetricsTest, ScoresThatAreNoNumbersAreNotRight) {
  const at::Tensor output = at::full({6, 4}, std::nan(""));
  const at::Tensor target = at::randint(0, 4, {6}, at::kLong);
  Members members({Outputs::kClasses, {"top-k", "auc"}, 2, false}, cut(output, target, 3), 2);
  const Metrics found = members.combine();
  EXPECT_EQ(found.at("top_2"), 0);
  EXPECT_TRUE(std::isnan(found.at("auc")));
}

TEST(MetricsTest, RanksHandleSignsZerosAndInfinities) {
  const std::vector<float> order = {-HUGE_VALF, -2.0F, -1e-40F, 0.0F, 1e-40F, 3.0F, HUGE_VALF};
  for (std::size_t i = 1; i < order.size(); ++i) {
    EXPECT_LT(rank_entry(order[i - 1], true), rank_entry(order[i], false)) << i;
  }
  EXPECT_EQ(rank_entry(-0.0F, true), rank_entry(0.0F, true));
}

TEST(MetricsTest, WhatDoesNotGoTogetherIsAnError) {
  const at::Tensor four = at::randn({4, 3});
  const at::Tensor classes = at::randint(0, 3, {4}, at::kLong);
  const auto error = [](const MetricSpec& spec, const at::Tensor& output,
                        const at::Tensor& target) {
    return Members(spec, {{output, target}}, 1).error();
  };
  EXPECT_EQ(error({Outputs::kClasses, {"accuracy"}, 5, false}, four, classes), "");
  EXPECT_NE(error({Outputs::kClasses, {"accuracy"}, 5, false}, four, classes + 3), "");
  EXPECT_NE(error({Outputs::kClasses, {"accuracy"}, 5, false}, four, classes.slice(0, 1)), "");
  EXPECT_NE(error({Outputs::kClasses, {"top-k"}, 3, false}, four, classes), "");
  EXPECT_NE(error({Outputs::kLogits, {"accuracy"}, 5, false}, four, at::rand({4, 2})), "");
  EXPECT_NE(error({Outputs::kValues, {"mae"}, 5, false}, four, at::rand({4, 2})), "");
  EXPECT_TRUE(check_metrics({Outputs::kValues, {"mae"}, 5, false}).ok());
  EXPECT_FALSE(check_metrics({Outputs::kValues, {"accuracy"}, 5, false}).ok());
  EXPECT_FALSE(check_metrics({Outputs::kUnknown, {"mae"}, 5, false}).ok());
  const Loss loss = losses::cross_entropy();
  EXPECT_EQ(metric_spec(loss, {"top_3", "auc"}, 5)->top_k, 3);
  EXPECT_FALSE(metric_spec(loss, {"top_0"}, 5).ok());
  EXPECT_FALSE(metric_spec(loss, {"acuracy"}, 5).ok());
  EXPECT_FALSE(metric_spec(losses::huber(), {"f1"}, 5).ok());
}

TEST(MetricsTest, ScoresOfTooManySamplesAreRefusedBeforeTheyAreHeld) {
  MetricPart part({Outputs::kLogits, {"auc"}, 5, false}, kMostScores + 1);
  EXPECT_FALSE(part.add(at::randn({4, 1}), at::rand({4, 1}), 0).ok());
  data::Table table;
  table.target_width = 2;
  const MetricSpec spec{Outputs::kLogits, {"auc"}, 5, false};
  EXPECT_TRUE(check_metrics(spec, table, kMostScores / 2).ok());
  EXPECT_FALSE(check_metrics(spec, table, kMostScores / 2 + 1).ok());
}

}  // namespace
}  // namespace instep::train
