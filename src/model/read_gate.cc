#include "model/read_gate.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <algorithm>

#include "base/result.h"

namespace instep::model {
namespace {

thread_local ReadGate* gate_of_thread = nullptr;

}  // namespace

ReadGate::ReadGate(const float* flat, std::uint64_t elements, Wait wait)
    : flat_(flat), elements_(elements), wait_(std::move(wait)) {
  INSTEP_CHECK(gate_of_thread == nullptr, "one gate at a time");
  gate_of_thread = this;
  handle_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(before).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
}

ReadGate::~ReadGate() {
  at::removeCallback(handle_);
  gate_of_thread = nullptr;
}

std::unique_ptr<at::ObserverContext> ReadGate::before(const at::RecordFunction& op) {
  const at::DisableRecordFunctionGuard unheard;
  for (const c10::IValue& input : op.inputs()) gate_of_thread->look_at(input);
  return nullptr;
}

void ReadGate::look_at(const c10::IValue& input) {
  if (input.isTensor()) return look_at(input.toTensor());
  if (!input.isList()) return;
  for (const c10::IValue& item : input.toListRef()) look_at(item);
}

// All of its storage, whatever part or view of it the tensor is.
void ReadGate::look_at(const at::Tensor& input) {
  if (!input.defined() || !input.has_storage() || !input.device().is_cpu()) return;
  const auto* begin = static_cast<const float*>(input.storage().data());
  const std::size_t count = input.storage().nbytes() / sizeof(float);
  const float* end = begin + count;
  if (begin == nullptr || end <= flat_ || begin >= flat_ + elements_) return;
  const auto first = static_cast<std::uint64_t>(std::max(begin, flat_) - flat_);
  const auto last = static_cast<std::uint64_t>(std::min(end, flat_ + elements_) - flat_);
  wait_({first, last - first});
}

}  // namespace instep::model
