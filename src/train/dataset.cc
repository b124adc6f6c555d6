#include "instep/dataset.h"

#include <ATen/core/Tensor.h>

#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "data/dataset.h"
#include "train/session.h"

namespace instep {
namespace {

// A dataset is made before or after the Run; its faults end the program like the Run's own.
[[noreturn]] void end_with(const Error& error) {
  std::fprintf(stderr, "instep: %s\n", error.message.c_str());
  std::fflush(nullptr);
  std::_Exit(train::exit_code(error.kind));
}

std::shared_ptr<const data::Table> must(Result<data::Table> table) {
  if (!table.ok()) end_with(table.error());
  return std::make_shared<const data::Table>(table.take());
}

Result<data::Table> table_of(const at::Tensor& samples, const at::Tensor& targets) {
  if (samples.dim() < 2 || targets.dim() < 1 || samples.size(0) != targets.size(0)) {
    return invalid(
        cat("a dataset of tensors needs samples of [n, …] and targets of [n] or [n, …], "
            "and got ",
            samples.sizes(), " and ", targets.sizes()));
  }
  const bool bytes = samples.scalar_type() == at::kByte;
  if ((!bytes && samples.scalar_type() != at::kFloat) || !samples.device().is_cpu()) {
    return invalid(cat("a dataset's samples are float32 or uint8 on the CPU, and these are ",
                       samples.toString()));
  }
  // Kept alive by the table, which points into them.
  struct Held {
    at::Tensor samples, targets;
    std::vector<std::int32_t> classes;
  };
  auto held = std::make_shared<Held>();
  held->samples = samples.detach().contiguous().clone();
  data::Table table;
  table.size = static_cast<std::uint64_t>(samples.size(0));
  table.shape = samples.sizes().slice(1).vec();
  table.kind = bytes ? data::Kind::kU8 : data::Kind::kF32;
  table.scale = bytes ? 1.0F / 255.0F : 1.0F;
  table.values = static_cast<const std::byte*>(held->samples.const_data_ptr());
  if (targets.scalar_type() == at::kLong && targets.dim() == 1) {
    const at::Tensor classes = targets.contiguous();
    const auto* at = classes.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < classes.numel(); ++i) {
      if (at[i] < 0 || at[i] > INT32_MAX) {
        return invalid(cat("target ", i, " is ", at[i], "; class numbers are 0 or more"));
      }
      held->classes.push_back(static_cast<std::int32_t>(at[i]));
      table.class_count = std::max(table.class_count, at[i] + 1);
    }
    table.classes = held->classes.data();
  } else if (targets.scalar_type() == at::kFloat) {
    held->targets = targets.detach().contiguous().clone();
    table.targets = held->targets.const_data_ptr<float>();
    table.target_width = targets.numel() / std::max<std::int64_t>(targets.size(0), 1);
  } else {
    return invalid(
        cat("a dataset's targets are int64 class numbers of [n] or float32, and these are ",
            targets.toString(), " of ", targets.sizes()));
  }
  table.keep = held;
  return table;
}

}  // namespace

Dataset Dataset::idx(const std::filesystem::path& samples, const std::filesystem::path& targets) {
  return Dataset(must(data::load_idx(samples, targets)));
}

Dataset Dataset::csv(const std::filesystem::path& file, const std::string& target, bool classes) {
  job::Data spec;
  spec.target_column = target;
  return Dataset(
      must(data::load_csv(file, spec, classes ? job::Loss::kCrossEntropy : job::Loss::kMse)));
}

Dataset Dataset::npy(const std::filesystem::path& samples, const std::filesystem::path& targets) {
  return Dataset(must(data::load_npy(samples, targets)));
}

Dataset Dataset::npz(const std::filesystem::path& file, const std::string& samples,
                     const std::string& targets) {
  return Dataset(must(data::load_npz(file, samples, targets)));
}

Dataset Dataset::cifar(const std::filesystem::path& path, bool test) {
  return Dataset(must(data::load_cifar(path, test)));
}

Dataset Dataset::text(const std::filesystem::path& file, std::int64_t context) {
  return Dataset(must(data::load_text(file, context)));
}

Dataset Dataset::tensors(const at::Tensor& samples, const at::Tensor& targets) {
  return Dataset(must(table_of(samples, targets)));
}

std::uint64_t Dataset::size() const { return table_->size; }

}  // namespace instep
