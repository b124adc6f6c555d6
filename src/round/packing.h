// How a run of the flat space travels where a codec makes it smaller: the values of each tensor and
// block in it, one after the other, without the padding between them. Both ends of a link know the
// layout, so they know the size of every frame.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "reduce/codec.h"
#include "reduce/flat.h"

namespace instep::round {

class Packing {
 public:
  enum class Form {
    kFlat,     // as it lies in memory, with the padding
    kPlain,    // values as they are
    kEncoded,  // by the codec, but for what is carried
  };

  // `tensors`: their places in the flat space, ascending. The last one may be carried.
  Packing(std::vector<reduce::Range> tensors, reduce::Codec codec, bool carried)
      : tensors_(std::move(tensors)), codec_(codec), carried_(carried) {}

  // `range` begins at a block, here and below.
  std::size_t bytes(const reduce::Range& range, Form form) const;
  // Bytes of a value; with int8 of nearly all.
  std::uint32_t width(Form form) const;
  // `values` is where the range begins. Of padding nothing is read or written. Not for kFlat, which
  // needs no copy.
  void pack(const reduce::Range& range, Form form, const float* values, std::byte* to) const;
  void unpack(const reduce::Range& range, Form form, const std::byte* from, float* values) const;
  // What is there after packing and unpacking encoded.
  void encode(const reduce::Range& range, float* values) const;

  // `run(tensor, range, codec)` for each run that is encoded by itself: of one tensor and block.
  template <class Run>
  void each_run(const reduce::Range& range, Form form, const Run& run) const {
    std::uint64_t at = range.begin;
    for (std::size_t t = first_tensor(at); t < tensors_.size(); ++t) {
      const bool plain = form != Form::kEncoded || (carried_ && t + 1 == tensors_.size());
      at = std::max(at, tensors_[t].begin);
      const std::uint64_t end = std::min(tensors_[t].end(), range.end());
      while (at < end) {
        const std::uint64_t left = reduce::kBlockElements - at % reduce::kBlockElements;
        const std::uint64_t count = std::min(end - at, left);
        run(t, reduce::Range{at, count}, plain ? reduce::Codec::kNone : codec_);
        at += count;
      }
      if (at >= range.end()) return;
    }
  }

 private:
  std::size_t first_tensor(std::uint64_t at) const;

  std::vector<reduce::Range> tensors_;
  reduce::Codec codec_;
  bool carried_;
};

}  // namespace instep::round
