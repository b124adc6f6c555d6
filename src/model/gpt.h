// A decoder as GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners, 2019):
// norms before each part, learned positions, GELU, residual projections initialised smaller by the
// number of layers; but the head's weights are its own, and it has no bias. Names as nanoGPT's:
// "transformer.wte", "transformer.h.0.attn.c_attn", …, "lm_head".
#pragma once

#include "model/network.h"

namespace instep::model {

// Tokens, int64 [n, t] with t at most model.context -> [n, t, vocabulary].
Network make_gpt(const job::Model& model);

}  // namespace instep::model
