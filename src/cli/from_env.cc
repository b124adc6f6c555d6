#include "cli/from_env.h"

#include <string.h>

#include <cstdlib>

#include "base/text.h"
#include "cli/from_env_hosts.h"
#include "cli/ranks.h"
#include "coord/rank_group.h"
#include "fabric/host_memory.h"

namespace instep::cli {
namespace {

// Launchers start all their processes at once, but machines may be slow.
constexpr std::int64_t kMeetMs = 60'000;

int train_alone(const Options& options, std::uint32_t agents) {
  Options run = options;
  run.agents = agents;
  return run_command(run);
}

int lead(const Options& options, const coord::RankGroup& group,
         const std::optional<HostGroup>& hosts) {
  const auto lead = coord::RankLead::gather(group, kMeetMs);
  if (!lead.ok()) return fail(lead.error());
  const int code = hosts ? train_in_group(options, *hosts) : train_alone(options, group.size);
  lead->end(code);
  return code;
}

int follow(const coord::RankGroup& group) {
  const auto code = coord::follow_lead(group, kMeetMs);
  return code.ok() ? *code : fail(code.error());
}

}  // namespace

std::optional<std::string> take_secret() {
  constexpr const char* kSecret = "INSTEP_SECRET";
  char* const text = std::getenv(kSecret);
  if (text == nullptr) return std::nullopt;
  std::string out = text;
  ::explicit_bzero(text, out.size());
  ::unsetenv(kSecret);
  return out;
}

Status flags_go_together(const Options& options) {
  if (!options.from_env && options.join.empty()) {
    return invalid(
        "instep agent needs the line to join by (--join LINE), or --from-env and a job file");
  }
  if (options.from_env && options.target.empty()) {
    return invalid("--from-env needs a job file (instep agent --from-env JOB.toml)");
  }
  if (options.from_env && options.agents) {
    return invalid("-n says nothing with --from-env: each process that was started is an agent");
  }
  if (!options.from_env && (!options.target.empty() || !options.sets.empty())) {
    return invalid(cat("the job comes from the coordinator; ",
                       options.sets.empty() ? options.target : cat("--set ", options.sets.front()),
                       " is of use only with --from-env"));
  }
  return {};
}

int from_env_command(const Options& options) {
  const auto rank = read_rank(environment());
  if (!rank.ok()) return fail(rank.error());
  if (rank->local_size > fabric::kMaxSlots) {
    return fail(invalid(cat(rank->launcher, " started ", rank->local_size,
                            " processes here; a host holds 1 to ", fabric::kMaxSlots, " agents")));
  }
  std::optional<HostGroup> hosts;
  if (!rank->on_one_host()) {
    auto read = read_host_group(options, *rank);
    if (!read.ok()) return fail(read.error());
    hosts = read.take();
  }
  const coord::RankGroup group{rank->launcher, rank->job, rank->local_rank, rank->local_size};
  return group.rank == 0 ? lead(options, group, hosts) : follow(group);
}

}  // namespace instep::cli
