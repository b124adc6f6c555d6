// The precision of a forward pass: inside, with bf16, libtorch's autocast runs matrix products and
// convolutions in bfloat16 and what needs it in float32. For the calling thread, until it goes out
// of scope.
#pragma once

#include "job/job.h"

namespace instep::train {

class Autocast {
 public:
  explicit Autocast(job::Precision precision);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  const bool on_;
  bool was_on_ = false;
};

}  // namespace instep::train
