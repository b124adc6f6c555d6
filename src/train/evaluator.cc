#include "train/evaluator.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>

#include "base/failpoint.h"
#include "reduce/kernels.h"
#include "train/batches.h"

namespace instep::train {
namespace {

struct ScoreRow {
  double loss_sum = 0;  // mean loss of the batch times its samples
  std::int64_t correct = 0;
};

// This member's batches of an evaluation: a contiguous, even share.
struct Share {
  std::size_t member = 0, members = 1;
  std::uint64_t batches = 0, first = 0, last = 0;
};

Share share_of(const Engine* engine, std::uint64_t samples, std::uint64_t batch) {
  Share out;
  out.batches = (samples + batch - 1) / batch;
  if (engine != nullptr) {
    const auto all = engine->participants();
    out.members = all.size();
    out.member =
        static_cast<std::size_t>(std::find(all.begin(), all.end(), engine->me()) - all.begin());
  }
  out.first = out.batches * out.member / out.members;
  out.last = out.batches * (out.member + 1) / out.members;
  return out;
}

bool nothing_to_do(const Engine* engine, const std::vector<std::uint64_t>& samples) {
  return samples.empty() || (engine != nullptr && engine->spare());
}

// Shares are of those who take part: when they change, everything is measured again by those of
// now.
template <class T, class Measure>
Result<T> with_those_of_now(const Measure& measure) {
  while (true) {
    Result<T> result = measure();
    if (result.ok() || result.error().kind != ErrorKind::kAgain) return result;
  }
}

// Calls `take` with each of my batches, without autograd.
template <class Take>
Status each_batch(Engine* engine, const Share& share, const data::Table& table,
                  const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                  const Take& take) {
  for (std::uint64_t i = share.first; i < share.last; ++i) {
    const std::uint64_t begin = i * batch;
    const std::uint64_t count = std::min<std::uint64_t>(batch, samples.size() - begin);
    const c10::InferenceMode guard;
    INSTEP_RETURN_IF_ERROR(take(make_batch(table, std::span(samples).subspan(begin, count))));
    if (engine != nullptr) engine->beat();
    failpoint("evaluate.batch");
  }
  return {};
}

Gather gather_of(Engine* engine) {
  if (engine != nullptr) {
    return [engine](std::span<const std::byte> mine) { return engine->gather_share(mine); };
  }
  return [](std::span<const std::byte> mine) {
    return Result<std::vector<std::span<const std::byte>>>(std::vector{mine});
  };
}

}  // namespace

Result<Metrics> measure(Engine* engine, const data::Table& table,
                        const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                        const MetricSpec& spec, const Forward& forward, const LossFunction& loss) {
  INSTEP_RETURN_IF_ERROR(check_metrics(spec));
  if (nothing_to_do(engine, samples)) return Metrics();
  return with_those_of_now<Metrics>([&]() -> Result<Metrics> {
    const Share share = share_of(engine, samples.size(), batch);
    MetricPart part(spec, samples.size());
    INSTEP_RETURN_IF_ERROR(
        each_batch(engine, share, table, samples, batch, [&](const Batch& given) -> Status {
          const at::Tensor output = forward(given);
          const at::Tensor mean = loss(output, given.target);
          if (!mean.defined() || mean.numel() != 1) {
            return invalid("the loss of an evaluation is not a single number");
          }
          return part.add(output, given.target, mean.item<double>());
        }));
    return part.combine(share.batches, share.member, share.members, gather_of(engine));
  });
}

namespace {

Result<Evaluation> try_evaluate(Engine* engine, const data::Table& table,
                                const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                                const std::function<Score(const Batch&)>& score) {
  const Share share = share_of(engine, samples.size(), batch);
  std::vector<ScoreRow> mine;
  INSTEP_RETURN_IF_ERROR(each_batch(engine, share, table, samples, batch, [&](const Batch& given) {
    const Score got = score(given);
    mine.push_back({got.loss * static_cast<double>(given.samples.size()), got.correct});
    return Status();
  }));
  INSTEP_ASSIGN_OR_RETURN(const auto all, gather_of(engine)(std::as_bytes(std::span(mine))));
  std::vector<double> sums;
  std::int64_t correct = 0;
  for (const std::span<const std::byte> bytes : all) {
    for (std::size_t at = 0; at + sizeof(ScoreRow) <= bytes.size(); at += sizeof(ScoreRow)) {
      ScoreRow row;
      std::memcpy(&row, bytes.data() + at, sizeof row);
      sums.push_back(row.loss_sum);
      correct += row.correct;
    }
  }
  if (sums.size() != share.batches) {
    return Error{ErrorKind::kCorrupt, "a member evaluated other batches than were its"};
  }
  Evaluation out;
  out.samples = samples.size();
  out.loss = reduce::tree_sum(sums) / static_cast<double>(samples.size());
  out.accuracy = static_cast<double>(correct) / static_cast<double>(samples.size());
  return out;
}

}  // namespace

Result<Evaluation> evaluate(Engine* engine, const data::Table& table,
                            const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                            const std::function<Score(const Batch&)>& score) {
  if (nothing_to_do(engine, samples)) return Evaluation();
  return with_those_of_now<Evaluation>(
      [&] { return try_evaluate(engine, table, samples, batch, score); });
}

}  // namespace instep::train
