#include "train/evaluator.h"

#include <c10/core/InferenceMode.h>

#include <cstring>

#include "reduce/kernels.h"
#include "train/batches.h"

namespace instep::train {
namespace {

struct Row {
  double loss_sum = 0;  // mean loss of the batch times its samples
  std::int64_t correct = 0;
};

// The batches of a member: a contiguous, even share.
std::pair<std::uint64_t, std::uint64_t> share(std::uint64_t batches, std::size_t member,
                                              std::size_t members) {
  return {batches * member / members, batches * (member + 1) / members};
}

}  // namespace

Result<Evaluation> evaluate(Engine* engine, const data::Table& table,
                            const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                            const std::function<Score(const Batch&)>& score) {
  if (samples.empty() || (engine != nullptr && engine->spare())) return Evaluation();
  const std::uint64_t batches = (samples.size() + batch - 1) / batch;
  std::size_t member = 0;
  std::size_t members = 1;
  if (engine != nullptr) {
    const auto& all = engine->view().members;
    members = all.size();
    member =
        static_cast<std::size_t>(std::find(all.begin(), all.end(), engine->me()) - all.begin());
  }
  const auto [first, last] = share(batches, member, members);
  std::vector<Row> mine;
  for (std::uint64_t i = first; i < last; ++i) {
    const std::uint64_t begin = i * batch;
    const std::uint64_t count = std::min<std::uint64_t>(batch, samples.size() - begin);
    const c10::InferenceMode guard;
    const Score got = score(make_batch(table, std::span(samples).subspan(begin, count)));
    mine.push_back({got.loss * static_cast<double>(count), got.correct});
  }
  std::vector<Row> rows(batches);
  const auto place = [&rows, batches, members](std::span<const std::byte> bytes, std::size_t from) {
    const auto [begin, end] = share(batches, from, members);
    if (bytes.size() != (end - begin) * sizeof(Row)) return false;
    if (!bytes.empty()) std::memcpy(rows.data() + begin, bytes.data(), bytes.size());
    return true;
  };
  if (engine == nullptr) {
    rows = mine;
  } else {
    INSTEP_ASSIGN_OR_RETURN(const auto all, engine->gather(std::as_bytes(std::span(mine))));
    for (std::size_t from = 0; from < all.size(); ++from) {
      if (!place(all[from], from)) {
        return Error{ErrorKind::kCorrupt, "a member evaluated other batches than were its"};
      }
    }
  }
  std::vector<double> sums;
  std::int64_t correct = 0;
  for (const Row& row : rows) {
    sums.push_back(row.loss_sum);
    correct += row.correct;
  }
  Evaluation out;
  out.samples = samples.size();
  out.loss = reduce::tree_sum(sums) / static_cast<double>(samples.size());
  out.accuracy = static_cast<double>(correct) / static_cast<double>(samples.size());
  return out;
}

}  // namespace instep::train
