// Whether a job's model and its data fit each other; the launcher cannot know, since it may not
// know the data's shape.
#pragma once

#include "base/result.h"
#include "data/dataset.h"
#include "job/job.h"
#include "model/network.h"

namespace instep::train {

// By the job's word alone: samples and targets of the data, or (inputs) samples without targets. Of
// TorchScript nothing is known so.
Status check_fit(const job::Job& job, const data::Table& table);
Status check_inputs(const job::Job& job, const data::Table& table);

// By a try, in eval mode, on two small batches of the data: that the module takes them and what
// comes out has one size a sample, and one that the targets ask for. Changes no buffer and not the
// state of libtorch's generator; leaves the module in the mode that it was in.
Status try_network(const job::Job& job, const data::Table& table, const model::Network& network);

}  // namespace instep::train
