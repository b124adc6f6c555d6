// Layers of LSTM (Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; gates as in
// torch::nn::LSTM) and a linear head: "embedding" (of tokens), "lstm", "head".
#pragma once

#include "model/network.h"

namespace instep::model {

// model.inputs = 0: tokens, int64 [n, t] -> [n, t, vocabulary], each from those up to it. Else
// values [n, t, inputs], or [n, t * inputs] -> [n, outputs], from the last step.
Network make_lstm(const job::Model& model);

}  // namespace instep::model
