// The words of the job's enums, in the order of their values.
#pragma once

#include <span>
#include <string_view>

#include "job/job.h"

namespace instep::job {

using Words = std::span<const std::string_view>;

Words words_of(Loss);
Words words_of(Activation);
Words words_of(DataFormat);
Words words_of(PartitionKind);
Words words_of(OptimizerKind);
Words words_of(ScheduleKind);
Words words_of(PolicyKind);
Words words_of(OnNonfinite);
Words words_of(Precision);
Words words_of(Decay);

}  // namespace instep::job
