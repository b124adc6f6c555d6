// Evaluation, split over the agents in whole batches and put together in the batches' order, so
// that its bits depend on neither.
#pragma once

#include <functional>
#include <vector>

#include "instep/run.h"
#include "train/engine.h"
#include "train/metrics.h"

namespace instep::train {

using Forward = std::function<at::Tensor(const Batch&)>;

// All members call these at the same boundary. A null engine (a program that evaluates alone)
// computes all of it. Of no samples, and on an agent that stands by, nothing is measured.
Result<Metrics> measure(Engine* engine, const data::Table& table,
                        const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                        const MetricSpec& spec, const Forward& forward, const LossFunction& loss);

// The same where the program scores its batches itself.
Result<Evaluation> evaluate(Engine* engine, const data::Table& table,
                            const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                            const std::function<Score(const Batch&)>& score);

}  // namespace instep::train
