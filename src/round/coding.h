// What of a job its exchanges are made by.
#pragma once

#include <cstdint>

#include "job/job.h"
#include "reduce/codec.h"

namespace instep::round {

reduce::Coding coding_of(const job::Job& job);
// Of a shard's full batch: the weight that counts as 1.
std::uint32_t full_samples(const job::Job& job);

}  // namespace instep::round
