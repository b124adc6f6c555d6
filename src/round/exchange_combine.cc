// What an owner does with a unit of its slice: adds up what all have published of it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "round/exchange.h"

namespace instep::round {

using reduce::kBlockElements;
using reduce::Range;

void Exchange::combine_flags() {
  const std::size_t tensors = setup_.tensors.size();
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    const float* source = sources_[node * tensors + tensors - 1];
    row_[node] = source == nullptr ? nullptr : source + setup_.carried->flags.begin;
  }
  combiner_.run(row_.data(), flags_.data(), flags_.size(), 1.0F, false);
}

bool Exchange::is_carried(std::size_t unit) const {
  return setup_.carried && setup_.units[unit].begin >= setup_.tensors.back().begin;
}

// Whether all that it is made of is there.
bool Exchange::stands(std::size_t unit) const {
  if (stamps_ == nullptr || void_) return true;
  if (!stamped(stamps_, setup_.units[unit], posted_.round)) return false;
  if (!is_carried(unit)) return true;
  const Range& flags = setup_.carried->flags;
  const std::uint64_t first = (setup_.tensors.back().begin + flags.begin) / kBlockElements;
  const Range blocks{first * kBlockElements,
                     setup_.tensors.back().begin + flags.end() - first * kBlockElements};
  return stamped(stamps_, blocks, posted_.round);
}

void Exchange::keep_unchanged(std::size_t index, float* to) {
  const Range& unit = setup_.units[index];
  const float* standing = update_->standing(index);
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    if (flags_[i] != 0) continue;
    const Range& part = setup_.carried->parts[i];
    const std::uint64_t first = setup_.tensors.back().begin + part.begin;
    const std::uint64_t begin = std::max(first, unit.begin);
    const std::uint64_t end = std::min(first + part.count, unit.end());
    if (begin >= end) continue;
    std::memcpy(to + (begin - unit.begin), standing + (begin - unit.begin),
                (end - begin) * sizeof(float));
  }
}

void Exchange::combine(std::size_t index, float* to) {
  const Range& unit = setup_.units[index];
  const std::size_t tensors = setup_.tensors.size();
  std::uint64_t at = unit.begin;
  for (std::size_t t = unit_tensor_[index]; at < unit.end(); ++t) {
    // Between tensors, and behind the last, lies padding: its gradient is zero for ever.
    const std::uint64_t begin =
        t < tensors ? std::min(setup_.tensors[t].begin, unit.end()) : unit.end();
    if (begin > at) std::fill(to + (at - unit.begin), to + (begin - unit.begin), 0.0F);
    at = std::max(at, begin);
    if (t >= tensors || at >= unit.end()) break;
    const Range& tensor = setup_.tensors[t];
    const std::uint64_t stop = std::min(tensor.end(), unit.end());
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
      const float* source = sources_[node * tensors + t];
      row_[node] = source == nullptr ? nullptr : source + (at - tensor.begin);
    }
    combine_run(index, at - unit.begin, stop - at, to);
    at = stop;
  }
}

// The values [within, within + count) of a unit, from row_, all of one tensor.
void Exchange::combine_run(std::size_t index, std::uint64_t within, std::uint64_t count,
                           float* to) {
  if (!coded_ || is_carried(index)) {
    const float factor = final_ && !is_carried(index) ? 1.0F : factor_;
    return combiner_.run(row_.data(), to + within, count, factor, update_->streams());
  }
  // What a codec makes of a value depends on those beside it: a block's, wherever units are cut.
  for (const std::uint64_t end = within + count; within < end;) {
    const std::uint64_t run = std::min(end - within, kBlockElements - within % kBlockElements);
    for (std::size_t node = 0; node < residuals_.size(); ++node) {
      const reduce::Residual unit = update_->residual(node, index);
      residuals_[node] = {unit.standing + within, unit.next + within};
    }
    coded_->run(row_.data(), to + within, run, factor_, residuals_.data());
    for (const float*& source : row_) source += source == nullptr ? 0 : run;
    within += run;
  }
}

void Exchange::do_unit(std::size_t index) {
  if (void_) {
    update_->carry(index);
    return;
  }
  const Range& unit = setup_.units[index];
  float* to = update_->target(index);
  combine(index, to);
  const std::size_t others = setup_.hosted ? nodes_.size() : setup_.view.members.size() - 1;
  outcome_.bytes_read += unit.count * sizeof(float) * others;
  const bool carried = is_carried(index);
  if (carried && !std::exchange(flags_known_, true)) combine_flags();
  if (carried) keep_unchanged(index, to);
  if (judging_.sums_wanted) {
    for (std::uint64_t at = 0; at < unit.count; at += kBlockElements) {
      const std::uint64_t count = std::min<std::uint64_t>(kBlockElements, unit.count - at);
      judging_.block_sums[(unit.begin + at) / kBlockElements] =
          carried ? 0 : reduce::sum_of_squares(to + at, count);
    }
  }
  if (!judging_.before_apply) update_->apply(index, 1.0F);
}

}  // namespace instep::round
