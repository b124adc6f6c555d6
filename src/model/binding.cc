#include "model/binding.h"

#include <ATen/ops/from_blob.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <unordered_map>

#include "base/text.h"

namespace instep::model {
namespace {

Status check_trainable(const NamedTensor& parameter) {
  const at::Tensor& tensor = parameter.tensor;
  if (tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu() || tensor.is_sparse()) {
    return invalid(cat("parameter ", parameter.name, " is ", tensor.toString(), " on ",
                       tensor.device().str(),
                       "; instep trains dense float32 parameters on the CPU: convert the module "
                       "with to(torch::kFloat32) before share()"));
  }
  if (!tensor.requires_grad() || !tensor.is_leaf()) {
    return invalid(cat("parameter ", parameter.name,
                       " is given to the optimizer but cannot be trained (requires_grad is off, or "
                       "it is no leaf); leave it out of the optimizer"));
  }
  return {};
}

}  // namespace

Result<Binding> bind(torch::nn::Module& module, torch::optim::Optimizer& optimizer) {
  Binding binding;
  std::unordered_map<const void*, std::string> names;
  std::unordered_map<const void*, bool> trained;
  for (const auto& item : module.named_parameters(true)) {
    names.emplace(item.value().unsafeGetTensorImpl(), item.key());
  }
  for (auto& group : optimizer.param_groups()) {
    binding.space.begin_group();
    for (const at::Tensor& tensor : group.params()) {
      const auto name = names.find(tensor.unsafeGetTensorImpl());
      if (name == names.end()) {
        return invalid(
            "the optimizer trains a tensor that the module does not have as a parameter; register "
            "it with register_parameter, or share the module that has it");
      }
      const NamedTensor parameter{name->second, tensor};
      INSTEP_RETURN_IF_ERROR(check_trainable(parameter));
      if (!trained.emplace(tensor.unsafeGetTensorImpl(), true).second) {
        return invalid(cat("parameter ", parameter.name,
                           " is given to the optimizer twice; give it once, also where two modules "
                           "share it (parameters() names it twice then)"));
      }
      binding.parameters.push_back(parameter);
      binding.space.add(static_cast<std::uint64_t>(tensor.numel()));
    }
  }
  for (const auto& item : module.named_buffers(true)) {
    binding.buffers.push_back({item.key(), item.value()});
  }
  binding.carried = Carried(binding.buffers);
  if (!binding.carried.empty()) {
    binding.space.begin_group();
    binding.space.add(binding.carried.elements());
  }
  binding.space.finish();
  if (binding.parameters.empty()) return invalid("the optimizer trains no parameter of the module");
  for (const auto& item : module.named_parameters(true)) {
    if (trained.count(item.value().unsafeGetTensorImpl()) == 0) {
      binding.frozen.push_back({item.key(), item.value()});
    }
  }
  return binding;
}

void Binding::point_at(float* flat) const {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& tensor = parameters[i].tensor;
    tensor.set_data(at::from_blob(flat + space.tensors()[i].begin, tensor.sizes(), at::kFloat));
  }
}

}  // namespace instep::model
