// Job files, and jobs as JSON in checkpoints and messages.
#include "job/job.h"

#include "input.h"

namespace instep {
namespace {

void use(const job::Job& job) {
  fuzz::expect_same_again(job, job::from_json, job::to_json);
  INSTEP_CHECK(job::hash(*job::from_json(job::to_json(job))) == job::hash(job), "the same job");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(fuzz::bytes_of(data, size));
  if (const auto job = job::parse(text, "job.toml", "/nowhere", {}, {}); job.ok()) use(job->job);
  if (const auto job = job::from_json(text); job.ok()) use(*job);
  return 0;
}

}  // namespace instep
