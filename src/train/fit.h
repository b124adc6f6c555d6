// Whether a job's model and its data fit each other; the launcher cannot know, since it may not
// know the data's shape.
#pragma once

#include "base/result.h"
#include "data/dataset.h"
#include "job/job.h"

namespace instep::train {

Status check_fit(const job::Job& job, const data::Table& table);

}  // namespace instep::train
