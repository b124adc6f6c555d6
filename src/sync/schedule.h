// Learning-rate schedules: a factor on every group's rate, a pure function of the round.
#pragma once

#include <cstdint>

#include "job/job.h"

namespace instep::sync {

// constant: 1. step: gamma^(epochs of data done / step_epochs). cosine: from 1 to final_factor at
// the last round (Loshchilov and Hutter, SGDR, ICLR 2017, section 3, one period). All after a
// linear warm-up that reaches 1 at round warmup_rounds.
double schedule_factor(const job::Schedule& schedule, std::uint64_t round,
                       std::uint64_t rounds_per_epoch, std::uint64_t rounds);

}  // namespace instep::sync
