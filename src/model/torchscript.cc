#include "model/torchscript.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/nn/module.h>

#include <sstream>
#include <unordered_set>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

// As in torch/csrc/jit/runtime/graph_executor.h, which takes 12 s to compile.
namespace torch::jit {
// NOLINTNEXTLINE(readability-identifier-naming)
TORCH_API void setGraphExecutorOptimize(bool o);
}  // namespace torch::jit

namespace instep::model {
namespace {

constexpr std::uint64_t kMaxScriptBytes = std::uint64_t{1} << 36;

// The line of a TorchScript error that says what is wrong: traces of the script stand before it, a
// trace of our frames behind.
std::string gist(const std::exception& error) {
  std::istringstream text(error.what());
  std::string first, line;
  std::getline(text, first);
  while (std::getline(text, line)) {
    if (line.rfind("RuntimeError: ", 0) == 0) return line.substr(14);
    if (line.rfind("builtins.", 0) == 0 || line.rfind("torch.jit.Error: ", 0) == 0) return line;
  }
  return first;
}

class Script : public torch::nn::Module {
 public:
  Script(torch::jit::Module script, std::string file)
      : script_(std::move(script)), file_(std::move(file)) {
    std::unordered_set<const void*> seen;
    mirror(script_, *this, seen);
  }

  void train(bool on) override {
    torch::nn::Module::train(on);
    script_.train(on);
  }

  at::Tensor forward(const at::Tensor& x) {
    try {
      const c10::IValue out = script_.forward({x});
      hold_buffers();
      at::Tensor y = out.toTensor();
      TORCH_CHECK(y.dim() > 0 && y.size(0) == x.size(0), "for a batch of ", x.size(0),
                  " samples its forward() returns ", y.sizes(),
                  "; the first dimension must be the batch's");
      return y;
    } catch (const std::exception& error) {
      throw std::runtime_error(cat(file_, ": ", gist(error)));
    }
  }

  torch::jit::Module script() const { return script_; }

 private:
  struct Buffer {
    c10::intrusive_ptr<c10::ivalue::Object> owner;
    std::size_t slot;
    at::Tensor tensor;
  };

  void mirror(const torch::jit::Module& from, torch::nn::Module& to,
              std::unordered_set<const void*>& seen) {
    const auto type = from.type();
    for (std::size_t i = 0; i < type->numAttributes(); ++i) {
      const std::string& name = type->getAttributeName(i);
      const c10::IValue value = from._ivalue()->getSlot(i);
      if (type->getAttribute(i)->is_module()) {
        const auto child = std::make_shared<torch::nn::Module>();
        mirror(torch::jit::Module(value.toObject()), *child, seen);
        to.register_module(name, child);
        continue;
      }
      if (!value.isTensor() || !(type->is_parameter(i) || type->is_buffer(i))) continue;
      at::Tensor tensor = value.toTensor();
      if (!tensor.is_contiguous()) tensor.set_data(tensor.detach().contiguous());
      if (!seen.insert(tensor.unsafeGetTensorImpl()).second) continue;
      if (type->is_parameter(i)) {
        to.register_parameter(name, tensor, tensor.requires_grad());
      } else {
        to.register_buffer(name, tensor);
        buffers_.push_back({from._ivalue(), i, tensor});
      }
    }
  }

  // A script may give an attribute a new tensor where another writes into the old one; the buffers
  // stay the tensors that we have registered.
  void hold_buffers() {
    for (const Buffer& buffer : buffers_) {
      const at::Tensor now = buffer.owner->getSlot(buffer.slot).toTensor();
      if (now.is_same(buffer.tensor)) continue;
      TORCH_CHECK(
          now.sizes() == buffer.tensor.sizes() && now.scalar_type() == buffer.tensor.scalar_type(),
          "its buffer ", buffer.owner->type()->getAttributeName(buffer.slot), " changes from ",
          buffer.tensor.toString(), " of ", buffer.tensor.sizes(), " to ", now.toString(), " of ",
          now.sizes());
      buffer.tensor.detach().copy_(now.detach());
      buffer.owner->setSlot(buffer.slot, buffer.tensor);
    }
  }

  torch::jit::Module script_;
  std::string file_;
  std::vector<Buffer> buffers_;
};

Status check_schema(const torch::jit::Module& script, const std::string& file) {
  const auto forward = script.find_method("forward");
  if (!forward) {
    return invalid(cat("model.file: ", file, " has no forward(); export a torch.nn.Module"));
  }
  const c10::FunctionSchema& schema = forward->function().getSchema();
  std::string takes;
  std::size_t needed = 0;
  bool tensor = false;
  for (std::size_t i = 1; i < schema.arguments().size(); ++i) {  // 0 is self
    const c10::Argument& argument = schema.arguments()[i];
    if (argument.default_value()) continue;
    tensor = argument.type()->kind() == c10::TypeKind::TensorType;
    takes += cat(needed++ > 0 ? ", " : "", argument.type()->str());
  }
  if (needed != 1 || !tensor) {
    return invalid(cat("model.file: ", file, ": its forward() takes (", takes,
                       "); allowed: one Tensor, the batch of samples"));
  }
  const auto& returns = schema.returns();
  if (returns.size() != 1 || returns.front().type()->kind() != c10::TypeKind::TensorType) {
    return invalid(cat("model.file: ", file, ": its forward() returns ",
                       returns.empty() ? "nothing" : returns.front().type()->str(),
                       "; allowed: one Tensor, the batch of outputs"));
  }
  return {};
}

Status check_parameters(const torch::nn::Module& module, const std::string& file) {
  std::size_t trained = 0;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& tensor = item.value();
    if (tensor.scalar_type() != at::kFloat || tensor.layout() != at::kStrided) {
      return invalid(cat("model.file: ", file, ": its parameter ", item.key(), " is ",
                         tensor.toString(),
                         "; instep trains dense float32: call .float() before the export"));
    }
    if (tensor.requires_grad()) ++trained;
  }
  if (trained > 0) return {};
  return invalid(cat("model.file: ", file,
                     " has no parameters to train; torch.jit.freeze() and requires_grad_(False) "
                     "take them away: export the module as it is trained"));
}

Result<torch::jit::Module> load_script(const job::Model& model, const std::filesystem::path& file) {
  auto bytes = read_file(file, kMaxScriptBytes);
  if (!bytes.ok()) {
    Error error = bytes.error();
    error.message = cat("model.file: ", error.message);
    return error;
  }
  if (!model.file_sha256.empty()) {
    if (const std::string found = sha256_hex(*bytes); found != model.file_sha256) {
      return Error{ErrorKind::kMismatch,
                   cat("model.file: ", model.file, " has the SHA-256 ", found,
                       ", and the job says ", model.file_sha256,
                       ": it is another file than the run began with; put that one back")};
    }
  }
  try {
    std::istringstream stream(bytes.take());
    torch::jit::Module script = torch::jit::load(stream, at::kCPU);
    script.train(true);
    return script;
  } catch (const std::exception& error) {
    return invalid(cat("model.file: ", model.file, " does not load as TorchScript (", gist(error),
                       "); write it with torch.jit.save(torch.jit.script(module), …) of a "
                       "PyTorch that is not newer than instep's libtorch"));
  }
}

}  // namespace

void switch_off_script_optimizer() { torch::jit::setGraphExecutorOptimize(false); }

Result<Network> load_torchscript(const job::Model& model, const std::filesystem::path& file) {
  switch_off_script_optimizer();
  INSTEP_ASSIGN_OR_RETURN(torch::jit::Module script, load_script(model, file));
  INSTEP_RETURN_IF_ERROR(check_schema(script, model.file));
  std::shared_ptr<Script> module;
  try {
    module = std::make_shared<Script>(std::move(script), model.file);
  } catch (const std::exception& error) {
    return invalid(cat("model.file: ", model.file, ": ", gist(error)));
  }
  INSTEP_RETURN_IF_ERROR(check_parameters(*module, model.file));
  return Network{module, [module](const at::Tensor& x) { return module->forward(x); }};
}

Status save_torchscript(const torch::nn::Module& module, const std::filesystem::path& file) {
  const auto* script = dynamic_cast<const Script*>(&module);
  INSTEP_CHECK(script != nullptr, "a module of load_torchscript()'s");
  try {
    std::ostringstream out;
    torch::jit::Module saved = script->script();
    saved.train(false);
    saved.save(out);
    return write_file_atomically(file, out.str());
  } catch (const std::exception& error) {
    return Error{ErrorKind::kInternal, cat("cannot write ", file.string(), ": ", gist(error))};
  }
}

}  // namespace instep::model
