// Fully connected layers with one activation between them, as torch's Sequential, so that Python's
// nn.Sequential loads its weights by the same names ("0.weight", …).
#pragma once

#include "model/network.h"

namespace instep::model {

// Samples of more dimensions are flattened.
Network make_mlp(const job::Model& model);

}  // namespace instep::model
