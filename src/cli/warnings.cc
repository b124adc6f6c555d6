#include "base/machine.h"
#include "base/text.h"
#include "cli/commands.h"

namespace instep::cli {

std::vector<std::string> job_warnings(const job::Job& job) {
  std::vector<std::string> out;
  if (!job.model.file.empty()) {
    out.push_back(cat("TorchScript carries code, which ", job.model.file,
                      " runs in every agent with your rights; it is loaded from this machine "
                      "alone: use files that you trust"));
  }
  if (job.precision == job::Precision::kBf16 && !has_bf16()) {
    out.push_back(cat("this processor (", cpu_model(),
                      ") has no instructions for bf16: precision = \"bf16\" will be slow here, and "
                      "fp32 faster"));
  }
  return out;
}

}  // namespace instep::cli
