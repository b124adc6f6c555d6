// What a loop takes over: a checkpoint's progress, or that of the members of a run under way.
#include <cstring>

#include "base/text.h"
#include "store/safetensors.h"
#include "train/loop.h"

namespace instep::train {
namespace {

// What changes of a loop from round to round, beside its ledger.
struct LoopState {
  double loss_sum = 0;
  std::uint64_t loss_samples = 0;
  SampleCounts samples;
};

}  // namespace

Status Loop::resume(const store::Found& found) {
  const auto path = found.folder / "state.safetensors";
  INSTEP_ASSIGN_OR_RETURN(const auto file, store::SafetensorsFile::open(path));
  const auto text = file.metadata().find("progress");
  const store::TensorInfo* ledger = file.find(kLedgerName);
  if (text == file.metadata().end() || ledger == nullptr) {
    return Error{ErrorKind::kMismatch, cat(path.string(), " holds no training state to resume")};
  }
  const std::span<const std::byte> bytes = file.bytes(*ledger);
  const auto samples = file.metadata().find("samples");
  if (samples == file.metadata().end() || samples->second != cat(table_->size)) {
    return Error{ErrorKind::kMismatch,
                 cat(path.string(), " was trained on ",
                     samples == file.metadata().end() ? "other" : samples->second,
                     " samples and the data has ", table_->size,
                     "; resume with the data that the run began with")};
  }
  INSTEP_ASSIGN_OR_RETURN(progress_, progress_from_json(text->second));
  history_factor_ = history_factor(job_, progress_.epochs);
  INSTEP_RETURN_IF_ERROR(ledger_.take(bytes));
  engine_.book().set_history(std::as_bytes(std::span(text->second)));
  engine_.book().append(bytes);
  saved_round_ = engine_.round();
  return {};
}

std::vector<std::byte> Loop::state() const {
  const LoopState now{progress_.loss_sum, progress_.loss_samples, progress_.samples};
  const auto bytes = std::as_bytes(std::span(&now, 1));
  return {bytes.begin(), bytes.end()};
}

Status Loop::enter(const Handover& handover) {
  LoopState now;
  if (handover.state.size() != sizeof now) {
    return Error{ErrorKind::kMismatch, "the state of the run does not fit this program"};
  }
  std::memcpy(&now, handover.state.data(), sizeof now);
  if (!handover.history.empty()) {
    INSTEP_ASSIGN_OR_RETURN(progress_, progress_from_json(std::string_view(
                                           reinterpret_cast<const char*>(handover.history.data()),
                                           handover.history.size())));
  }
  progress_.loss_sum = now.loss_sum;
  progress_.loss_samples = now.loss_samples;
  progress_.samples = now.samples;
  history_factor_ = history_factor(job_, progress_.epochs);
  INSTEP_RETURN_IF_ERROR(ledger_.take(handover.log));
  engine_.book().set_history(handover.history);
  engine_.book().append(handover.log);
  saved_round_ = engine_.round();
  return {};
}

}  // namespace instep::train
