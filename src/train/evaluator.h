// Evaluation, split over the agents in whole batches and added up in the batches' order, so that
// its bits depend on neither.
#pragma once

#include <functional>
#include <vector>

#include "instep/run.h"
#include "train/engine.h"

namespace instep::train {

// All members call it at the same boundary. A null engine (a program that evaluates alone) computes
// all of it.
Result<Evaluation> evaluate(Engine* engine, const data::Table& table,
                            const std::vector<std::uint64_t>& samples, std::uint64_t batch,
                            const std::function<Score(const Batch&)>& score);

}  // namespace instep::train
