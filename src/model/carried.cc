#include "model/carried.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace instep::model {
namespace {

std::uint64_t aligned(std::uint64_t element) {
  constexpr std::uint64_t kStep = reduce::kAlignElements;
  return (element + kStep - 1) / kStep * kStep;
}

std::int64_t integer_at(const at::Tensor& tensor, std::uint64_t index) {
  if (tensor.scalar_type() == at::kLong) return tensor.const_data_ptr<std::int64_t>()[index];
  return tensor.const_data_ptr<std::int32_t>()[index];
}

void set_integer(const at::Tensor& tensor, std::uint64_t index, std::int64_t value) {
  if (tensor.scalar_type() == at::kLong) {
    tensor.mutable_data_ptr<std::int64_t>()[index] = value;
  } else {
    tensor.mutable_data_ptr<std::int32_t>()[index] = static_cast<std::int32_t>(value);
  }
}

}  // namespace

Carried::Carried(const std::vector<NamedTensor>& buffers) {
  for (const NamedTensor& buffer : buffers) {
    const at::Tensor& tensor = buffer.tensor;
    const at::ScalarType type = tensor.scalar_type();
    const bool integer = type == at::kLong || type == at::kInt;
    if ((type != at::kFloat && !integer) || !tensor.device().is_cpu() || !tensor.is_contiguous() ||
        tensor.numel() == 0) {
      fixed_.push_back({buffer, tensor._version()});
      continue;
    }
    const reduce::Range place{aligned(elements_), static_cast<std::uint64_t>(tensor.numel())};
    items_.push_back({buffer, place, {}, integer});
    elements_ = place.end();
  }
  if (items_.empty()) return;
  flags_ = aligned(elements_);
  elements_ = flags_ + items_.size();
}

void Carried::begin() {
  for (Item& item : items_) {
    item.counts.clear();
    for (std::uint64_t i = 0; item.integer && i < item.place.count; ++i) {
      item.counts.push_back(integer_at(item.buffer.tensor, i));
    }
  }
}

std::vector<reduce::Range> Carried::parts() const {
  std::vector<reduce::Range> out;
  for (const Item& item : items_) out.push_back(item.place);
  return out;
}

void Carried::restore(const float* stretch) const {
  for (const Item& item : items_) {
    if (item.integer) {
      for (std::uint64_t i = 0; i < item.place.count; ++i) {
        set_integer(item.buffer.tensor, i, item.counts[i]);
      }
    } else {
      std::memcpy(item.buffer.tensor.mutable_data_ptr<float>(), stretch + item.place.begin,
                  item.place.count * sizeof(float));
    }
  }
}

at::Tensor Carried::contribution(const float* stretch) const {
  at::Tensor out = at::empty({static_cast<std::int64_t>(elements_)}, at::kFloat);
  auto* const to = out.mutable_data_ptr<float>();
  std::fill_n(to, elements_, 0.0F);
  for (std::size_t n = 0; n < items_.size(); ++n) {
    const Item& item = items_[n];
    float* const values = to + item.place.begin;
    bool changed = item.integer;  // what nobody added to is a change by zero
    if (item.integer) {
      for (std::uint64_t i = 0; i < item.place.count; ++i) {
        values[i] = static_cast<float>(integer_at(item.buffer.tensor, i) - item.counts[i]);
      }
    } else {
      const std::size_t bytes = item.place.count * sizeof(float);
      std::memcpy(values, item.buffer.tensor.const_data_ptr<float>(), bytes);
      changed = std::memcmp(values, stretch + item.place.begin, bytes) != 0;
    }
    to[flags_ + n] = changed ? 1.0F : 0.0F;
  }
  return out;
}

void Carried::write(float* to, std::uint64_t first, std::uint64_t count) const {
  std::fill_n(to, count, 0.0F);
  for (const Item& item : items_) {
    const std::uint64_t begin = std::max(first, item.place.begin);
    const std::uint64_t end = std::min(first + count, item.place.end());
    if (item.integer || begin >= end) continue;
    std::memcpy(to + (begin - first),
                item.buffer.tensor.const_data_ptr<float>() + (begin - item.place.begin),
                (end - begin) * sizeof(float));
  }
}

std::vector<std::int64_t> Carried::counts() const {
  std::vector<std::int64_t> out;
  for (const Item& item : items_) out.insert(out.end(), item.counts.begin(), item.counts.end());
  return out;
}

Status Carried::set_counts(std::span<const std::int64_t> counts) {
  begin();
  for (Item& item : items_) {
    if (item.counts.size() > counts.size()) {
      return Error{ErrorKind::kMismatch, "a state taken over has other buffers than the model"};
    }
    std::copy_n(counts.begin(), item.counts.size(), item.counts.begin());
    counts = counts.subspan(item.counts.size());
  }
  if (counts.empty()) return {};
  return Error{ErrorKind::kMismatch, "a state taken over has more buffers than the model"};
}

void Carried::advance(const float* stretch) {
  for (Item& item : items_) {
    for (std::uint64_t i = 0; i < item.counts.size(); ++i) {
      item.counts[i] += std::llround(stretch[item.place.begin + i]);
    }
  }
}

std::string Carried::changed_elsewhere() const {
  for (const Fixed& fixed : fixed_) {
    if (fixed.buffer.tensor._version() != fixed.version) return fixed.buffer.name;
  }
  return "";
}

}  // namespace instep::model
