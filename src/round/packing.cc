#include "round/packing.h"

namespace instep::round {

using reduce::Codec;
using reduce::Range;

// The first that ends behind it.
std::size_t Packing::first_tensor(std::uint64_t at) const {
  const auto found = std::partition_point(tensors_.begin(), tensors_.end(),
                                          [at](const Range& tensor) { return tensor.end() <= at; });
  return static_cast<std::size_t>(found - tensors_.begin());
}

std::size_t Packing::bytes(const Range& range, Form form) const {
  if (form == Form::kFlat) return range.count * sizeof(float);
  std::size_t out = 0;
  each_run(range, form, [&out](std::size_t /*tensor*/, const Range& run, Codec codec) {
    out += reduce::packed_bytes(codec, run.count);
  });
  return out;
}

std::uint32_t Packing::width(Form form) const {
  if (form != Form::kEncoded) return sizeof(float);
  return static_cast<std::uint32_t>(reduce::packed_bytes(codec_, reduce::kBlockElements) /
                                    reduce::kBlockElements);
}

void Packing::pack(const Range& range, Form form, const float* values, std::byte* to) const {
  each_run(range, form, [&](std::size_t /*tensor*/, const Range& run, Codec codec) {
    reduce::pack(codec, values + (run.begin - range.begin), run.count, to);
    to += reduce::packed_bytes(codec, run.count);
  });
}

void Packing::unpack(const Range& range, Form form, const std::byte* from, float* values) const {
  each_run(range, form, [&](std::size_t /*tensor*/, const Range& run, Codec codec) {
    reduce::unpack(codec, from, run.count, values + (run.begin - range.begin));
    from += reduce::packed_bytes(codec, run.count);
  });
}

void Packing::encode(const Range& range, float* values) const {
  each_run(range, Form::kEncoded, [&](std::size_t /*tensor*/, const Range& run, Codec codec) {
    reduce::through(codec, values + (run.begin - range.begin), run.count);
  });
}

}  // namespace instep::round
