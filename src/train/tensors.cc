#include "train/tensors.h"

#include <torch/nn/module.h>

#include <cstring>
#include <map>

#include "base/text.h"

namespace instep::train {

store::TensorBytes as_bytes(const std::string& name, const at::Tensor& tensor) {
  static const std::map<at::ScalarType, std::string> kNames = {
      {at::kFloat, "F32"}, {at::kDouble, "F64"}, {at::kHalf, "F16"},  {at::kBFloat16, "BF16"},
      {at::kLong, "I64"},  {at::kInt, "I32"},    {at::kShort, "I16"}, {at::kChar, "I8"},
      {at::kByte, "U8"},   {at::kBool, "BOOL"}};
  const auto dtype = kNames.find(tensor.scalar_type());
  return {name,
          dtype == kNames.end() ? "?" : dtype->second,
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

// The bytes of a checkpoint's tensor, which must have this parameter's type and shape.
Result<std::span<const std::byte>> find_like(const store::SafetensorsFile& file,
                                             const std::string& name, const at::Tensor& like,
                                             const std::filesystem::path& where) {
  const store::TensorInfo* info = file.find(name);
  const store::TensorBytes due = as_bytes(name, like);
  if (info == nullptr || info->dtype != due.dtype || info->shape != due.shape) {
    const std::string found = info == nullptr
                                  ? "nothing of that name"
                                  : cat(info->dtype, " of ", at::IntArrayRef(info->shape));
    return Error{ErrorKind::kMismatch,
                 cat(where.string(), " is of another model: ", name, " should be ", due.dtype,
                     " of ", like.sizes(), " and it has ", found)};
  }
  return file.bytes(*info);
}

std::vector<model::NamedTensor> tensors_of(const torch::nn::Module& module) {
  std::vector<model::NamedTensor> out;
  for (const auto& item : module.named_parameters()) out.push_back({item.key(), item.value()});
  for (const auto& item : module.named_buffers()) out.push_back({item.key(), item.value()});
  return out;
}

Status load_into(const std::vector<model::NamedTensor>& tensors, const store::SafetensorsFile& file,
                 const std::filesystem::path& where) {
  for (const model::NamedTensor& item : tensors) {
    at::Tensor values = item.tensor.detach();
    INSTEP_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                            find_like(file, item.name, values, where));
    std::memcpy(values.mutable_data_ptr(), bytes.data(), bytes.size());
  }
  return {};
}

std::string moment_name(sync::Rule rule, int index) {
  if (rule == sync::Rule::kSgd) return "momentum_buffer";
  return index == 0 ? "exp_avg" : "exp_avg_sq";
}

}  // namespace instep::train
