// Named tensors as a checkpoint's bytes, and back.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/binding.h"
#include "store/digest.h"
#include "store/safetensors.h"
#include "sync/rule.h"

namespace instep::train {

// The tensor's own memory, which must be contiguous; the dtype is "?" if safetensors has none.
store::TensorBytes as_bytes(const std::string& name, const at::Tensor& tensor);

// The bytes of the file's tensor of that name, which must have the type and shape of `like`;
// kMismatch says what it has.
Result<std::span<const std::byte>> find_like(const store::SafetensorsFile& file,
                                             const std::string& name, const at::Tensor& like,
                                             const std::filesystem::path& where);

// A module's parameters, then its buffers.
std::vector<model::NamedTensor> tensors_of(const torch::nn::Module& module);

// Copies the weights of a file into tensors of the same names, types and shapes; kMismatch names
// the first that differs.
Status load_into(const std::vector<model::NamedTensor>& tensors, const store::SafetensorsFile& file,
                 const std::filesystem::path& where);

// The moments' names in files, as torch calls them: "exp_avg", "exp_avg_sq", "momentum_buffer".
std::string moment_name(sync::Rule rule, int index);

}  // namespace instep::train
