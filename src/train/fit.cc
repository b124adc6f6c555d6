#include "train/fit.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "base/text.h"
#include "train/batches.h"
#include "train/guarded.h"

namespace instep::train {
namespace {

std::string shape_of(const data::Table& table) { return cat(at::IntArrayRef(table.shape)); }

// `key` is what the number of outputs is set by.
Status check_outputs(const data::Table& table, const std::string& key, std::int64_t outputs) {
  if (table.classes != nullptr && table.class_count > outputs) {
    return invalid(cat(key, " ", outputs, " outputs and the data has ", table.class_count,
                       " classes; make it at least that many"));
  }
  if (table.classes == nullptr && table.target_width != outputs) {
    return invalid(cat(key, " ", outputs, " outputs and a target of the data has ",
                       table.target_width, " values; make them equal"));
  }
  return {};
}

Status check_values(const data::Table& table, const std::string& kind) {
  if (table.kind != data::Kind::kTokens) return {};
  return invalid(cat(kind,
                     " reads values and the data is text; set model.kind = \"gpt\", or \"lstm\" "
                     "with model.inputs = 0"));
}

Status mlp_inputs(const job::Model& model, const data::Table& table) {
  INSTEP_RETURN_IF_ERROR(check_values(table, "mlp"));
  const std::int64_t inputs = model.layers.front();
  if (static_cast<std::int64_t>(table.elements()) == inputs) return {};
  return invalid(cat("model.layers begins with ", inputs, " inputs and a sample of the data has ",
                     table.elements(), " values; make them equal"));
}

Status resnet20_inputs(const job::Model& model, const data::Table& table) {
  INSTEP_RETURN_IF_ERROR(check_values(table, "resnet20"));
  const std::vector<std::int64_t>& shape = table.shape;
  if (shape.size() != 2 && shape.size() != 3) {
    return invalid(
        cat("resnet20 reads images of [channels, height, width] and a sample of the data "
            "is ",
            shape_of(table),
            "; take data that keeps its shape (cifar, npy, idx, data.shape of synthetic)"));
  }
  const std::int64_t channels = shape.size() == 3 ? shape.front() : 1;
  if (channels == model.channels) return {};
  return invalid(cat("model.channels is ", model.channels, " and a sample of the data is ",
                     shape_of(table), "; set model.channels = ", channels));
}

Status token_inputs(const job::Model& model, const data::Table& table) {
  if (table.kind != data::Kind::kTokens) {
    return invalid(cat(model.kind, " reads text and the data is values",
                       model.kind == "lstm" ? "; for sequences of values set model.inputs"
                                            : "; set data.format = \"text\""));
  }
  if (model.kind == "gpt" && table.shape.front() > model.context) {
    return invalid(cat("model.context is ", model.context, " and a sample of the data has ",
                       table.shape.front(), " tokens; set data.context to at most ",
                       model.context));
  }
  if (table.class_count > model.vocabulary) {
    return invalid(cat("model.vocabulary is ", model.vocabulary, " and the data has ",
                       table.class_count, " tokens; set it to that many"));
  }
  return {};
}

Status lstm_inputs(const job::Model& model, const data::Table& table) {
  if (model.inputs == 0) return token_inputs(model, table);
  INSTEP_RETURN_IF_ERROR(check_values(table, "lstm with model.inputs"));
  const std::vector<std::int64_t>& shape = table.shape;
  const bool steps = shape.size() == 2 && shape.back() == model.inputs;
  const bool flat = shape.size() == 1 && shape.front() % model.inputs == 0;
  if (steps || flat) return {};
  return invalid(cat("model.inputs is ", model.inputs,
                     " values a step and a sample of the data is ", shape_of(table),
                     "; allowed: [steps, ", model.inputs, "], or that many values in one row"));
}

// Puts back what a try may change.
class Undo {
 public:
  explicit Undo(torch::nn::Module& module)
      : module_(module),
        training_(module.is_training()),
        generator_(at::detail::getDefaultCPUGenerator()),
        state_(generator_.get_state()) {
    for (const auto& buffer : module.named_buffers()) {
      buffers_.emplace_back(buffer.value(), buffer.value().clone());
    }
  }
  ~Undo() {
    for (const auto& [buffer, before] : buffers_) buffer.copy_(before);
    generator_.set_state(state_);
    module_.train(training_);
  }
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;

 private:
  torch::nn::Module& module_;
  bool training_;
  at::Generator generator_;
  at::Tensor state_;
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers_;
};

at::Tensor try_batch(const data::Table& table, const model::Network& network, std::uint64_t size) {
  return network.forward(make_inputs(table, data::first_samples(std::min(size, table.size))));
}

Status check_shapes(const job::Job& job, const data::Table& table, const at::Tensor& one,
                    const at::Tensor& other) {
  const std::string name = job.model.file.empty() ? job.model.kind : job.model.file;
  if (!one.sizes().slice(1).equals(other.sizes().slice(1))) {
    return invalid(cat(name, " returns ", one.sizes(), " for a batch of ", one.size(0), " and ",
                       other.sizes(), " for one of ", other.size(0),
                       "; a sample's outputs must have one shape"));
  }
  const bool tokens = table.kind == data::Kind::kTokens;
  std::vector<std::int64_t> due = {one.size(0)};
  if (tokens) due.push_back(table.shape.front());
  const bool classes = job.loss == job::Loss::kCrossEntropy;
  const std::int64_t outputs = one.size(-1);
  due.push_back(classes ? std::max(outputs, table.class_count) : table.target_width);
  if (one.dim() > 1 && one.scalar_type() == at::kFloat && one.sizes().equals(due)) return {};
  due.back() = classes ? table.class_count : table.target_width;
  return invalid(cat(name, " returns ", one.toString(), " of ", one.sizes(), " for a batch of ",
                     one.size(0), " samples, and the data asks for float outputs of ",
                     at::IntArrayRef(due), classes ? " or more classes" : ""));
}

}  // namespace

Status check_inputs(const job::Job& job, const data::Table& table) {
  const std::string& kind = job.model.kind;
  if (kind == "mlp") return mlp_inputs(job.model, table);
  if (kind == "resnet20") return resnet20_inputs(job.model, table);
  if (kind == "gpt") return token_inputs(job.model, table);
  if (kind == "lstm") return lstm_inputs(job.model, table);
  return {};
}

Status check_fit(const job::Job& job, const data::Table& table) {
  INSTEP_RETURN_IF_ERROR(check_inputs(job, table));
  if (table.kind == data::Kind::kTokens) return {};
  const job::Model& model = job.model;
  if (model.kind == "mlp") {
    return check_outputs(table, "model.layers ends with", model.layers.back());
  }
  if (model.kind == "resnet20" || model.kind == "lstm") {
    return check_outputs(table, "model.outputs says", model.outputs);
  }
  return {};
}

Status try_network(const job::Job& job, const data::Table& table, const model::Network& network) {
  const Undo undo(*network.module);
  const at::NoGradGuard guard;
  network.module->eval();
  try {
    const at::Tensor one = try_batch(table, network, 2);
    return check_shapes(job, table, one, try_batch(table, network, 3));
  } catch (const std::exception& error) {
    return invalid(cat("the model does not take a batch of the data's samples, which are ",
                       shape_of(table), " each: ", first_line(error)));
  }
}

}  // namespace instep::train
