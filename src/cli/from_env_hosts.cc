#include "cli/from_env_hosts.h"

#include <cstdio>

#include "base/duration.h"
#include "base/machine.h"
#include "base/text.h"
#include "cli/first_run.h"
#include "cli/insecure.h"
#include "cli/joined_run.h"
#include "cli/meeting.h"
#include "fabric/shared_secret.h"

namespace instep::cli {
namespace {

// For the first host, which waits a minute for its own processes before it listens.
constexpr std::int64_t kMeetMs = 120'000;

Error no_secret(const Rank& rank) {
  return invalid(cat(
      rank.launcher, " started ", rank.size,
      " processes on several hosts, and launchers give hosts no secret to know each other by. Set "
      "INSTEP_SECRET to the same one on all of them (as `openssl rand -hex 16` makes it",
      rank.launcher == "mpirun" ? "; mpirun passes it on with -x INSTEP_SECRET" : "",
      "), or say --insecure, which lets in anyone who reaches the port; or use `instep run "
      "--hosts`"));
}

Result<std::string> secret_of(const Options& options, const Rank& rank) {
  const std::optional<std::string>& secret = options.secret;
  if (options.insecure && secret) {
    return invalid("--insecure is for jobs without a secret, and INSTEP_SECRET is set; unset one");
  }
  if (options.insecure) return std::string(kNoSecret);
  if (!secret) return no_secret(rank);
  if (secret->size() < fabric::kLeastSecret) {
    return invalid(cat("INSTEP_SECRET has ", secret->size(), " characters; it needs at least ",
                       fabric::kLeastSecret, ", as `openssl rand -hex 16` makes them"));
  }
  return *secret;
}

std::vector<std::string> warnings_of(const HostGroup& group) {
  if (!group.insecure) return {};
  return {coord::insecure_warning(group.meeting)};
}

// A number is listened on alone. A name may mean here what others do not reach, so: everywhere.
fabric::Address listen_at(const fabric::Address& meeting) {
  const bool is_number = meeting.host.find(':') != std::string::npos ||
                         meeting.host.find_first_not_of("0123456789.") == std::string::npos;
  return {is_number ? meeting.host : "0.0.0.0", meeting.port};
}

void say_waiting(const Options& options, const HostGroup& group, bool first) {
  if (options.quiet) return;
  const Rank& rank = group.rank;
  const std::string address = to_text(group.meeting);
  if (first) {
    std::printf("listening on %s (%s)\nwaiting for agents: %u of %u are here\n", address.c_str(),
                group.meeting_from.c_str(), rank.local_size, rank.size);
  } else {
    std::printf("ranks %u to %u wait for the first host at %s (%s)\n", rank.rank,
                rank.rank + rank.local_size - 1, address.c_str(), group.meeting_from.c_str());
  }
  std::fflush(stdout);
}

coord::FirstHost::Plan plan_meeting(const HostGroup& group, const fabric::SharedKeys& keys) {
  coord::FirstHost::Plan out;
  out.listen = listen_at(group.meeting);
  out.known_as = group.meeting;
  out.shared = keys;
  out.listen_advice = cat("\nthe hosts of this job meet there (", group.meeting_from,
                          "); --address HOST:PORT, the same on all of them, says another place");
  out.insecure = group.insecure;
  out.rules.min_agents = out.rules.max_agents = group.rank.size;
  return out;
}

int train_as_first(const Options& options, const HostGroup& group, const fabric::SharedKeys& keys) {
  Options here = options;
  here.agents = group.rank.size;
  here.local = group.rank.local_size;
  const auto job_text = read_job(options.target);
  if (!job_text.ok()) return fail(job_text.error());
  auto plan = plan_first(here, *job_text);
  if (!plan.ok()) return fail(plan.error());
  auto run = open_first(here, plan.take(), *job_text, plan_meeting(group, keys));
  if (!run.ok()) return fail(run.error());
  run->plan.stops_together = true;
  say_waiting(options, group, true);
  return train_first(here, run.take(), job_text->text, warnings_of(group));
}

coord::JoinedHost::Plan plan_join(const HostGroup& group, const fabric::SharedKeys& keys,
                                  std::int64_t patience_s) {
  coord::JoinedHost::Plan out;
  out.line = {group.meeting.host, group.meeting.port, keys.token, keys.fingerprint};
  out.name = machine_name();
  out.agents = group.rank.local_size;
  out.meet_ms = kMeetMs;
  out.patience_ms = patience_s * 1000;
  out.disbelief = cat("it does not prove to be this run's coordinator; ",
                      group.insecure ? "is --insecure given on all hosts, and is "
                                     : "is INSTEP_SECRET the same on all hosts, and ",
                      "the place where they meet (", group.meeting_from, ")?");
  return out;
}

// On hosts that share their files each needs a directory of its own; the first one has the one that
// is asked for.
Options options_beside_the_first(const Options& options, const HostGroup& group) {
  Options out = options;
  if (!out.run_dir.empty()) out.run_dir += cat("-rank", group.rank.rank);
  out.report.clear();
  out.quiet = true;  // the first one says all that there is to say
  return out;
}

// The first host's files count.
Status same_job(job::Job mine, const job::Job& firsts) {
  if (mine.model.file_sha256.empty()) mine.model.file_sha256 = firsts.model.file_sha256;
  const std::string hash = job::hash(mine), other = job::hash(firsts);
  if (hash == other) return {};
  return Error{ErrorKind::kMismatch,
               cat("this host's job is not that of the first host: their hashes are ", hash,
                   " and ", other, "; give all hosts the same job file, --set and INSTEP_SET")};
}

int train_beside_the_first(const Options& options, const HostGroup& group,
                           const fabric::SharedKeys& keys) {
  const auto job = job::load_without_files(options.target, options.sets, environment_sets());
  if (!job.ok()) return fail(job.error());
  // The first one says so too, and ends: nobody need wait for it.
  if (const Status fit = agents_fit(group.rank.size, job->job); !fit.ok()) return fail(fit.error());
  const auto patience = parse_duration(options.orphan_timeout);
  if (!patience.ok()) return fail(patience.error());
  say_waiting(options, group, false);
  auto host = coord::JoinedHost::join(plan_join(group, keys, *patience));
  if (!host.ok()) return fail(host.error());
  if (const Status same = same_job(job->job, (*host)->job()); !same.ok()) {
    return fail(same.error());
  }
  return train_joined(options_beside_the_first(options, group), **host,
                      {group.rank.local_size, true, warnings_of(group)});
}

}  // namespace

Result<HostGroup> read_host_group(const Options& options, const Rank& rank) {
  HostGroup out;
  out.rank = rank;
  INSTEP_ASSIGN_OR_RETURN(out.secret, secret_of(options, rank));
  INSTEP_ASSIGN_OR_RETURN(Meeting meeting, read_meeting(environment(), rank, options.address));
  out.meeting = std::move(meeting.address);
  out.meeting_from = std::move(meeting.from);
  out.insecure = options.insecure;
  return out;
}

int train_in_group(const Options& options, const HostGroup& group) {
  const Rank& rank = group.rank;
  const auto keys = fabric::derive_keys(
      group.secret, cat("from-env\n", rank.launcher, "\n", rank.run, "\n", to_text(group.meeting)));
  if (!keys.ok()) return fail(keys.error());
  return rank.rank == 0 ? train_as_first(options, group, *keys)
                        : train_beside_the_first(options, group, *keys);
}

}  // namespace instep::cli
