#include "train/autocast.h"

#include <ATen/autocast_mode.h>

namespace instep::train {

Autocast::Autocast(job::Precision precision) : on_(precision == job::Precision::kBf16) {
  if (!on_) return;
  was_on_ = at::autocast::is_autocast_enabled(at::kCPU);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (!on_) return;
  // The parameters' casts; a user's own scope around ours keeps its.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, was_on_);
}

}  // namespace instep::train
