// The parts of an evaluation put together.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "reduce/kernels.h"
#include "train/metrics.h"

namespace instep::train {
namespace {

Error not_whole() { return {ErrorKind::kCorrupt, "a member measured other batches than were its"}; }

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Everybody's items of one type, one member's after the other's.
template <class Item>
Result<std::vector<Item>> gather_items(const Gather& gather, const std::vector<Item>& mine) {
  INSTEP_ASSIGN_OR_RETURN(const auto all, gather(std::as_bytes(std::span(mine))));
  std::vector<Item> out;
  for (const std::span<const std::byte> bytes : all) {
    if (bytes.size() % sizeof(Item) != 0) return not_whole();
    const std::size_t begin = out.size();
    out.resize(begin + bytes.size() / sizeof(Item));
    if (!bytes.empty()) std::memcpy(out.data() + begin, bytes.data(), bytes.size());
  }
  return out;
}

}  // namespace

std::uint64_t rank_entry(float score, bool yes) {
  // Adding 0 makes -0 a 0, which it equals; then the bits, turned about for negative numbers, have
  // the numbers' order.
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
  const std::uint32_t key = (bits >> 31) != 0 ? ~bits : bits | (1U << 31);
  return std::uint64_t{key} << 1 | static_cast<std::uint64_t>(yes);
}

RankCount count_ranks(std::vector<std::uint64_t>& entries) {
  std::sort(entries.begin(), entries.end());
  RankCount out;
  for (std::size_t begin = 0; begin < entries.size();) {
    std::size_t end = begin;
    std::uint64_t yes = 0;
    while (end < entries.size() && entries[end] >> 1 == entries[begin] >> 1) {
      yes += entries[end++] & 1;
    }
    const std::uint64_t no = end - begin - yes;
    out.twice += yes * (2 * out.no + no);
    out.yes += yes;
    out.no += no;
    begin = end;
  }
  return out;
}

Result<Metrics> MetricPart::combine(std::uint64_t batches, std::size_t member, std::size_t members,
                                    const Gather& gather) const {
  Metrics out;
  INSTEP_RETURN_IF_ERROR(combine_rows(batches, gather, out));
  if (counts()) INSTEP_RETURN_IF_ERROR(combine_counts(gather, out));
  if (wants("auc")) INSTEP_RETURN_IF_ERROR(combine_scores(member, members, gather, out));
  return out;
}

Status MetricPart::combine_rows(std::uint64_t batches, const Gather& gather, Metrics& out) const {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<Row> rows, gather_items(gather, rows_));
  if (rows.size() != batches) return not_whole();
  std::vector<double> losses, entropies, errors;
  Row sum;
  for (const Row& row : rows) {
    losses.push_back(row.loss_sum);
    entropies.push_back(row.entropy_sum);
    errors.push_back(row.error_sum);
    sum.samples += row.samples;
    sum.predictions += row.predictions;
    sum.values += row.values;
    sum.correct += row.correct;
    sum.top += row.top;
  }
  out["loss"] = reduce::tree_sum(losses) / static_cast<double>(sum.samples);
  if (wants("accuracy")) out["accuracy"] = ratio(sum.correct, sum.predictions);
  if (wants("top-k")) out[metric_name("top-k", spec_.top_k)] = ratio(sum.top, sum.predictions);
  if (wants("mae")) out["mae"] = reduce::tree_sum(errors) / static_cast<double>(sum.values);
  if (wants("perplexity")) {
    out["perplexity"] =
        std::exp(reduce::tree_sum(entropies) / static_cast<double>(sum.predictions));
  }
  return {};
}

// The mean over the classes that occur, among the targets or among the answers; a quotient by zero
// is 0.
Status MetricPart::combine_counts(const Gather& gather, Metrics& out) const {
  INSTEP_ASSIGN_OR_RETURN(const auto all, gather(std::as_bytes(std::span(counts_))));
  std::vector<std::int64_t> sums;
  for (const std::span<const std::byte> bytes : all) {
    if (bytes.empty()) continue;  // it had no batches
    if (sums.empty()) sums.resize(bytes.size() / sizeof(std::int64_t));
    if (bytes.size() != sums.size() * sizeof(std::int64_t) || sums.size() % 3 != 0) {
      return not_whole();
    }
    for (std::size_t i = 0; i < sums.size(); ++i) {
      std::int64_t value = 0;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      sums[i] += value;
    }
  }
  const std::size_t columns = sums.size() / 3;
  double precision = 0, recall = 0, f1 = 0;
  std::int64_t occur = 0;
  for (std::size_t i = 0; i < columns; ++i) {
    const std::int64_t actual = sums[i];
    const std::int64_t predicted = sums[columns + i];
    const std::int64_t both = sums[2 * columns + i];
    if (actual + predicted == 0) continue;
    ++occur;
    precision += ratio(both, predicted);
    recall += ratio(both, actual);
    f1 += ratio(2 * both, actual + predicted);
  }
  const double count = static_cast<double>(std::max<std::int64_t>(occur, 1));
  if (wants("precision")) out["precision"] = precision / count;
  if (wants("recall")) out["recall"] = recall / count;
  if (wants("f1")) out["f1"] = f1 / count;
  return {};
}

// Scores are read where they lie, in each member's memory; the curves are shared out among the
// members, and their integers gathered.
Status MetricPart::combine_scores(std::size_t member, std::size_t members, const Gather& gather,
                                  Metrics& out) const {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> widths,
                          gather_items(gather, std::vector<std::uint32_t>{curves_}));
  const std::size_t curves = *std::max_element(widths.begin(), widths.end());
  std::vector<std::byte> mine(scores_.size() * (sizeof(float) + 1));
  if (!mine.empty()) {
    std::memcpy(mine.data(), scores_.data(), scores_.size() * sizeof(float));
    std::memcpy(mine.data() + scores_.size() * sizeof(float), is_yes_.data(), is_yes_.size());
  }
  INSTEP_ASSIGN_OR_RETURN(const auto all, gather(mine));
  for (const std::span<const std::byte> bytes : all) {
    if (curves == 0 || bytes.size() % (curves * (sizeof(float) + 1)) != 0) return not_whole();
  }
  std::vector<RankCount> ranks;
  std::vector<std::uint64_t> entries;
  for (std::size_t curve = curves * member / members; curve < curves * (member + 1) / members;
       ++curve) {
    entries.clear();
    std::uint64_t nan = 0;
    for (const std::span<const std::byte> bytes : all) {
      const std::size_t count = bytes.size() / (sizeof(float) + 1);
      for (std::size_t i = curve; i < count; i += curves) {
        float score = 0;
        std::memcpy(&score, bytes.data() + i * sizeof score, sizeof score);
        nan += std::isnan(score) ? 1 : 0;
        entries.push_back(rank_entry(score, bytes[count * sizeof score + i] != std::byte{0}));
      }
    }
    ranks.push_back(count_ranks(entries));
    ranks.back().nan = nan;
  }
  INSTEP_ASSIGN_OR_RETURN(const std::vector<RankCount> whole, gather_items(gather, ranks));
  if (whole.size() != curves) return not_whole();
  double sum = 0;
  std::int64_t defined = 0;
  for (const RankCount& rank : whole) {
    if (rank.yes == 0 || rank.no == 0) continue;
    ++defined;
    sum += rank.nan > 0
               ? std::numeric_limits<double>::quiet_NaN()
               : static_cast<double>(rank.twice) / static_cast<double>(2 * rank.yes * rank.no);
  }
  if (defined > 0) out["auc"] = sum / static_cast<double>(defined);
  return {};
}

}  // namespace instep::train
