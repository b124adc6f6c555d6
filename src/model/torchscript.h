// A module that Python exported with torch.jit.save, trained as it is. The file carries code, so it
// is loaded only as the very bytes that the job names.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "model/network.h"

namespace instep::model {

// The module has the script's tree of submodules, and in it the script's own tensors, as parameters
// and buffers of the script's names; train(bool) reaches the script. It is read from `file`; errors
// call it model.file. A parameter in several places
// is registered at the first. kInvalid names the file: it does not load, has no float32 parameter
// to train, its forward() takes or returns anything but one tensor. `job.model.file_sha256`, unless
// empty, must be that of the file (kMismatch). Turns off TorchScript's optimizer in the calling
// thread: it changes bits from the second run of a module on.
//
// forward throws std::runtime_error, with the file: what the script threw, a batch of another size
// than went in, a buffer that changes its shape.
Result<Network> load_torchscript(const job::Model& model, const std::filesystem::path& file);

// In the calling thread, for all that it runs from now on.
void switch_off_script_optimizer();

// Saves a module of load_torchscript()'s as TorchScript again, in eval mode, with its present
// values.
Status save_torchscript(const torch::nn::Module& module, const std::filesystem::path& file);

}  // namespace instep::model
