// While one lives, whoever made it hears of every op of its thread that is about to read memory of
// the flat space, before it does, and can make the op wait. So a forward pass may begin before all
// parameters are there. It hears of what goes through libtorch's dispatcher, as all of the zoo's
// and TorchScript's ops do; a program's own loop over data_ptr() does not.
//
// Built on libtorch's observers (ATen/record_function.h). One at a time in a thread; while none
// lives, ops cost what they cost without.
#pragma once

#include <ATen/record_function.h>

#include <cstdint>
#include <functional>

#include "reduce/flat.h"

namespace instep::model {

class ReadGate {
 public:
  // The elements of the flat space at `flat` in which the op's inputs lie. May run ops of its own,
  // of which nothing is heard; must not throw, since libtorch would swallow it.
  using Wait = std::function<void(const reduce::Range& range)>;
  ReadGate(const float* flat, std::uint64_t elements, Wait wait);
  ~ReadGate();
  ReadGate(const ReadGate&) = delete;
  ReadGate& operator=(const ReadGate&) = delete;

 private:
  static std::unique_ptr<at::ObserverContext> before(const at::RecordFunction& op);
  void look_at(const c10::IValue& input);
  void look_at(const at::Tensor& input);

  const float* flat_;
  const std::uint64_t elements_;
  const Wait wait_;
  at::CallbackHandle handle_;
};

}  // namespace instep::model
