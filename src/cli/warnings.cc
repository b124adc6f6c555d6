#include "base/machine.h"
#include "base/text.h"
#include "cli/commands.h"

namespace instep::cli {

std::vector<std::string> job_warnings(const job::Job& job, bool hosted) {
  std::vector<std::string> out;
  if (!job.model.file.empty()) {
    const char* where =
        hosted ? " of the first host runs in every agent of every host" : " runs in every agent";
    out.push_back(cat("TorchScript carries code, which ", job.model.file, where,
                      " with your rights: use files", hosted ? ", and join runs," : "",
                      " that you trust"));
  }
  if (job.precision == job::Precision::kBf16 && !has_bf16()) {
    out.push_back(cat("this processor (", cpu_model(),
                      ") has no instructions for bf16: precision = \"bf16\" will be slow here, and "
                      "fp32 faster"));
  }
  if (job.codec.kind != job::CodecKind::kNone && !hosted) {
    out.push_back(cat("agents of one host share memory, so codec.kind = \"",
                      job::to_text(job.codec.kind),
                      "\" makes nothing faster here; it shows what the codec does to the result"));
  }
  return out;
}

}  // namespace instep::cli
