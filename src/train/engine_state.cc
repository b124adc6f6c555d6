// The engine's state as named tensors, and from a checkpoint.
#include <cmath>
#include <cstring>

#include "base/failpoint.h"
#include "base/text.h"
#include "reduce/kernels.h"
#include "train/engine.h"
#include "train/tensors.h"

namespace instep::train {

using reduce::Range;

Status Engine::restore(const store::Found& found) {
  const auto weights = found.folder / "model.safetensors";
  INSTEP_ASSIGN_OR_RETURN(const auto file, store::SafetensorsFile::open(weights));
  INSTEP_RETURN_IF_ERROR(load_into(binding_.parameters, file, weights));
  INSTEP_RETURN_IF_ERROR(load_into(binding_.frozen, file, weights));
  INSTEP_RETURN_IF_ERROR(load_into(binding_.buffers, file, weights));
  const auto state = found.folder / "state.safetensors";
  INSTEP_ASSIGN_OR_RETURN(const auto held, store::SafetensorsFile::open(state));
  if (replicas_step()) {
    return Error{ErrorKind::kMismatch,
                 cat(found.folder.string(),
                     " cannot be resumed with this optimizer, whose state instep does not save; "
                     "start a new run from its weights with model.init")};
  }
  const auto updates = held.metadata().find("updates");
  if (updates == held.metadata().end()) {
    return Error{ErrorKind::kMismatch, cat(state.string(), " holds no training state to resume")};
  }
  round_ = found.manifest.round;
  updates_ = std::strtoull(updates->second.c_str(), nullptr, 10);
  return {};
}

// Every owner writes its slices of the initial state; then the host holds it once.
Status Engine::fill_my_slices(const std::optional<store::Found>& resumed) {
  // A run that goes back to its beginning has stepped what should be fresh.
  for (const Range& range : my_ranges_) {
    const bool fresh = round::unstamped({range}, memory_->stamps(), ~0ULL).empty();
    for (const auto& [suffix, region] : state_regions()) {
      if (!fresh) std::memset(region + range.begin, 0, range.count * sizeof(float));
    }
  }
  INSTEP_RETURN_IF_ERROR(write_my_slices(resumed));
  for (const Range& range : my_ranges_) {
    for (std::uint64_t at = range.begin; at < range.end(); at += reduce::kBlockElements) {
      const std::uint64_t block = at / reduce::kBlockElements;
      memory_->checks(round_)[block] = memory_->check_of(block, round_);
    }
    round::set_stamps(memory_->stamps(), range, round_ - 1);
  }
  return {};
}

Status Engine::write_my_slices(const std::optional<store::Found>& resumed) {
  const std::vector<reduce::Piece> mine = reduce::pieces_of(binding_.space, my_ranges_);
  float* const parameters = memory_->parameters(round_);
  binding_.carried.begin();
  for (const reduce::Piece& piece : mine) {
    if (piece.tensor == binding_.parameters.size()) {
      binding_.carried.write(parameters + piece.at, piece.within, piece.count);
      continue;
    }
    if (replicas_step()) continue;
    const at::Tensor values = binding_.parameters[piece.tensor].tensor.detach().contiguous();
    std::memcpy(parameters + piece.at, values.const_data_ptr<float>() + piece.within,
                piece.count * sizeof(float));
    if (memory_->average() == nullptr) continue;
    std::memcpy(memory_->average() + piece.at, parameters + piece.at, piece.count * sizeof(float));
  }
  failpoint("start.half_filled");
  if (!resumed || replicas_step()) return {};
  const auto path = resumed->folder / "state.safetensors";
  INSTEP_ASSIGN_OR_RETURN(const auto file, store::SafetensorsFile::open(path));
  for (const auto& [suffix, region] : state_regions()) {
    for (const reduce::Piece& piece : mine) {
      if (piece.tensor == binding_.parameters.size()) continue;
      const model::NamedTensor& parameter = binding_.parameters[piece.tensor];
      INSTEP_ASSIGN_OR_RETURN(const auto bytes, find_like(file, cat(parameter.name, ".", suffix),
                                                          parameter.tensor, path));
      std::memcpy(region + piece.at, bytes.data() + piece.within * sizeof(float),
                  piece.count * sizeof(float));
    }
  }
  return {};
}

std::vector<std::pair<std::string, float*>> Engine::state_regions() const {
  std::vector<std::pair<std::string, float*>> out;
  for (int index = 0; index < memory_->moments(); ++index) {
    out.emplace_back(moment_name(rule_, index), memory_->moment(index));
  }
  if (memory_->average() != nullptr) out.emplace_back(store::kAverageSuffix, memory_->average());
  for (std::size_t node = 0; node < memory_->residuals(); ++node) {
    out.emplace_back(cat("residual.", node), memory_->residual(round_, node));
  }
  return out;
}

std::vector<store::TensorBytes> Engine::parameters() const {
  std::vector<store::TensorBytes> out;
  for (const auto* list : {&binding_.parameters, &binding_.frozen, &binding_.buffers}) {
    for (const model::NamedTensor& item : *list) out.push_back(as_bytes(item.name, item.tensor));
  }
  return out;
}

std::vector<store::TensorBytes> Engine::optimizer_state() const {
  std::vector<store::TensorBytes> out;
  if (replicas_step()) return out;
  for (const auto& [suffix, region] : state_regions()) {
    for (std::size_t i = 0; i < binding_.parameters.size(); ++i) {
      const Range& place = binding_.space.tensors()[i];
      store::TensorBytes tensor =
          as_bytes(binding_.parameters[i].name, binding_.parameters[i].tensor);
      tensor.name += cat(".", suffix);
      tensor.bytes = std::as_bytes(std::span(region + place.begin, place.count));
      out.push_back(std::move(tensor));
    }
  }
  return out;
}

bool Engine::parameters_finite() const {
  for (const model::NamedTensor& item : binding_.parameters) {
    const at::Tensor& tensor = item.tensor;
    if (!std::isfinite(reduce::sum_of_squares(tensor.const_data_ptr<float>(),
                                              static_cast<std::size_t>(tensor.numel())))) {
      return false;
    }
  }
  return true;
}

}  // namespace instep::train
