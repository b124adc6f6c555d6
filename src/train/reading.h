// What an agent does with a checkpoint and a model that the job describes, other than training and
// evaluating: `instep predict` and TorchScript's part of `instep export`.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "job/job.h"
#include "model/network.h"

namespace instep::train {

// Copies the weights and buffers of a safetensors file into the network.
Status load_weights(const model::Network& network, const std::filesystem::path& file);
// Over them those that a checkpoint's state.safetensors has as averages.
Status load_averages(const model::Network& network, const std::filesystem::path& file);

// One line a sample on stdout. Cross-entropy: the class and its probability, of text the mean loss
// of the sample's bytes in nats and its perplexity; else the outputs (bce: as probabilities).
Status predict(const job::Job& job, const model::Network& network,
               const std::filesystem::path& input);

}  // namespace instep::train
