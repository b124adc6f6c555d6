// What an evaluation measures, as parts that are added up exactly: each agent measures its batches,
// and the combined result is the metric over the whole set, bit for bit the same on any number of
// agents. Answers are counted in integers, floating sums are kept by batch and added in the
// batches' canonical tree, and an area under the curve is counted from everybody's scores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/dataset.h"
#include "instep/losses.h"
#include "job/job.h"

namespace instep::train {

// Counts by class are three integers each, and all scores of an auc are held at once.
inline constexpr std::int64_t kMostCountedClasses = 1 << 20;
inline constexpr std::uint64_t kMostScores = 1 << 25;

struct MetricSpec {
  Outputs outputs = Outputs::kUnknown;
  std::vector<std::string> metrics;  // the job's words
  std::int64_t top_k = 5;
  bool loss_is_cross_entropy = false;  // then perplexity is its exp
};

MetricSpec metrics_of(const job::Job& job);
// Of a program's loss; each of the metrics is a word of the job, or "top_3" for top-k with that k.
Result<MetricSpec> metric_spec(const Loss& loss, const std::vector<std::string>& metrics,
                               std::int64_t top_k);
// The job's word as it is reported: "top-k" is "top_5".
std::string metric_name(std::string_view metric, std::int64_t top_k);
// Whether these metrics can be measured on outputs of this meaning.
Status check_metrics(const MetricSpec& spec);
// What is wrong with them for `samples` samples like the table's, before any training.
Status check_metrics(const MetricSpec& spec, const data::Table& table, std::uint64_t samples);

// Everybody's bytes in member order; they stay valid until the next call but one.
using Gather =
    std::function<Result<std::vector<std::span<const std::byte>>>(std::span<const std::byte>)>;

// One member's part of an evaluation.
class MetricPart {
 public:
  // `samples`: of the whole evaluation, all members together.
  MetricPart(MetricSpec spec, std::uint64_t samples) : spec_(std::move(spec)), samples_(samples) {}

  // The next batch of mine, whose mean loss this is. Outputs and targets that do not go together
  // are an error.
  Status add(const at::Tensor& output, const at::Tensor& target, double loss);

  // Members hold consecutive batches, in member order; `batches` is their number in all. Every
  // member calls it and gets the same.
  Result<Metrics> combine(std::uint64_t batches, std::size_t member, std::size_t members,
                          const Gather& gather) const;

 private:
  struct Row {  // of a batch
    double loss_sum = 0, entropy_sum = 0, error_sum = 0;
    std::int64_t samples = 0, predictions = 0, values = 0, correct = 0, top = 0;
  };
  bool wants(std::string_view metric) const;
  bool counts() const { return wants("precision") || wants("recall") || wants("f1"); }
  Status add_classes(const at::Tensor& output, const at::Tensor& target, Row& row);
  Status add_yes_or_no(const at::Tensor& output, const at::Tensor& target, Row& row);
  Status take_columns(std::int64_t columns);
  Status add_counts(const at::Tensor& actual, const at::Tensor& predicted, const at::Tensor& both);
  Status add_scores(const at::Tensor& scores, const at::Tensor& yes, const Row& row);
  Status combine_rows(std::uint64_t batches, const Gather& gather, Metrics& out) const;
  Status combine_counts(const Gather& gather, Metrics& out) const;
  Status combine_scores(std::size_t member, std::size_t members, const Gather& gather,
                        Metrics& out) const;

  const MetricSpec spec_;
  const std::uint64_t samples_;
  std::int64_t columns_ = 0;  // classes, or outputs of yes or no; 0 before the first batch
  std::vector<Row> rows_;
  std::vector<std::int64_t> counts_;  // [3][columns]: actual, predicted, both
  std::uint32_t curves_ = 0;          // columns of scores: one for two classes
  std::vector<float> scores_;         // [predictions][curves]
  std::vector<std::uint8_t> is_yes_;  // the same
};

// The area under the receiver's curve as integers: twice the number of pairs (yes, no) in which the
// yes has the larger score, a tie counting half (Mann and Whitney, 1947).
struct RankCount {
  std::uint64_t twice = 0, yes = 0, no = 0, nan = 0;
};
// `entries`: see rank_entry; they are sorted.
RankCount count_ranks(std::vector<std::uint64_t>& entries);
// A score and its answer, in the order of the scores; equal scores differ in the lowest bit only.
std::uint64_t rank_entry(float score, bool yes);

}  // namespace instep::train
