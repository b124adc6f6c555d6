// Job files, and jobs as JSON in checkpoints and messages.
#include "job/job.h"

#include "input.h"

namespace instep {
namespace {

void use(const job::Job& job) {
  const std::string json = job::to_json(job);
  const auto again = job::from_json(json);
  INSTEP_CHECK(again.ok() && job::to_json(*again) == json, "a job is read as it was written");
  INSTEP_CHECK(job::hash(*again) == job::hash(job), "and is the same job");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(fuzz::bytes_of(data, size));
  if (const auto job = job::parse(text, "job.toml", "/nowhere", {}, {}); job.ok()) use(job->job);
  if (const auto job = job::from_json(text); job.ok()) use(*job);
  return 0;
}

}  // namespace instep
