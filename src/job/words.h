// The words of the job's enums, in the order of their values.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "job/job.h"

namespace instep::job {

using Words = std::span<const std::string_view>;

// What evaluations can measure beside the loss.
inline constexpr std::array<std::string_view, 8> kMetricWords = {
    "accuracy", "top-k", "precision", "recall", "f1", "auc", "mae", "perplexity"};

Words words_of(Loss);
Words words_of(Activation);
Words words_of(DataFormat);
Words words_of(PartitionKind);
Words words_of(OptimizerKind);
Words words_of(ScheduleKind);
Words words_of(PolicyKind);
Words words_of(CodecKind);
Words words_of(OnNonfinite);
Words words_of(OnCorruption);
Words words_of(Compression);
Words words_of(Precision);
Words words_of(Decay);

}  // namespace instep::job
