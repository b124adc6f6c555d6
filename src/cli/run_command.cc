#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/first_run.h"
#include "cli/recorded.h"
#include "cli/remote_run.h"
#include "cli/run_plan.h"
#include "coord/launcher.h"
#include "coord/process.h"
#include "coord/report.h"
#include "coord/run_dir.h"
#include "store/checkpoint.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kMaxJobFile = 1 << 20;

}  // namespace

Result<JobText> read_job(const std::string& target) {
  if (target.empty()) return JobText{};
  JobText out;
  INSTEP_ASSIGN_OR_RETURN(out.file, job_file(target));
  INSTEP_ASSIGN_OR_RETURN(out.text, read_file(out.file, kMaxJobFile));
  return out;
}

Result<coord::RunDir> create_run_dir(const Options& options, const std::string& name) {
  std::optional<fs::path> wanted;
  if (!options.run_dir.empty()) wanted = options.run_dir;
  return coord::RunDir::create(wanted, name);
}

Status check_memory(const job::Job& job, std::uint32_t agents) {
  const double needed = memory_of(job).total(agents);
  const auto free = static_cast<double>(available_memory());
  if (needed <= free) return {};
  return Error{ErrorKind::kNoMemory,
               cat("too little memory: ", agents, agents == 1 ? " agent needs" : " agents need",
                   " about ", human_bytes(needed), " for this model, ", human_bytes(free),
                   " are free; use fewer agents (-n), a smaller batch or a smaller model")};
}

namespace {

// How many agents, and what is done when some come or go.
Status plan_membership(const Options& options, std::int64_t threads, std::int64_t shards,
                       coord::LaunchPlan& plan) {
  INSTEP_ASSIGN_OR_RETURN(plan.agents, agent_count(options, threads, shards));
  plan.min_agents = options.min_agents;
  plan.replace = !options.no_replace;
  if (plan.job) plan.patience_seconds = plan.job->faults.patience;
  return {};
}

}  // namespace

Result<coord::LaunchPlan> plan_run(const Options& options, const JobText& job_text) {
  coord::LaunchPlan plan;
  plan.own_program = !options.program.empty();
  std::int64_t threads = 1;
  std::int64_t shards = job::Job().shards;
  if (plan.own_program) {
    INSTEP_ASSIGN_OR_RETURN(plan.program, coord::find_program(options.program.front()));
    plan.arguments.assign(options.program.begin() + 1, options.program.end());
    plan.job_toml = job_text.text;
    if (!job_text.file.empty()) {
      plan.job_name = job_text.file.string();
      plan.job_folder = fs::absolute(job_text.file).parent_path().string();
    }
    plan.sets = options.sets;
    // What the program makes of it is its own business; it only helps to count agents here.
    const auto known =
        job::parse(job_text.text, plan.job_name, plan.job_folder, options.sets, environment_sets());
    if (known.ok()) {
      threads = known->job.threads;
      shards = known->job.shards;
    }
  } else {
    INSTEP_ASSIGN_OR_RETURN(plan.program, agent_program());
    INSTEP_ASSIGN_OR_RETURN(job::Resolved resolved,
                            job::load(options.target, options.sets, environment_sets()));
    plan.job = std::move(resolved.job);
    threads = plan.job->threads;
    shards = plan.job->shards;
  }
  INSTEP_RETURN_IF_ERROR(plan_membership(options, threads, shards, plan));
  if (plan.job) INSTEP_RETURN_IF_ERROR(check_memory(*plan.job, plan.agents));
  INSTEP_RETURN_IF_ERROR(check_report(options.report));
  return plan;
}

namespace {

Status keeps_the_trajectory(const std::string& set) {
  const std::string key = set.substr(0, set.find('='));
  const std::string top = key.substr(0, key.find('.'));
  if (top == "epochs" || top == "stop" || top == "checkpoint" || top == "faults" ||
      top == "links") {
    return {};
  }
  return invalid(
      cat("--set ", set,
          ": a resumed run goes on with its own job; only epochs, stop.*, "
          "checkpoint.*, faults.* and links.* may be changed. For another job start a new run"));
}

Result<coord::LaunchPlan> plan_resume(const Options& options, const fs::path& run,
                                      std::vector<std::string>& warnings) {
  for (const std::string& set : options.sets) INSTEP_RETURN_IF_ERROR(keeps_the_trajectory(set));
  INSTEP_ASSIGN_OR_RETURN(const store::Found found, store::newest_checkpoint(run));
  warnings = found.warnings;
  INSTEP_ASSIGN_OR_RETURN(const job::Job saved, job::from_json(found.manifest.job_json));
  INSTEP_ASSIGN_OR_RETURN(job::Resolved resolved, job::parse("", run.string(), fs::current_path(),
                                                             options.sets, {}, saved));
  if (job::hash(resolved.job) != job::hash(saved)) {
    return Error{ErrorKind::kMismatch,
                 cat("the learning-rate schedule of this run depends on its number of epochs (",
                     saved.epochs, "), so epochs cannot be changed; start a new run")};
  }
  coord::LaunchPlan plan;
  plan.job = std::move(resolved.job);
  plan.checkpoint = found.folder.string();
  const Result<coord::RunInfo> info = coord::read_info(run);
  if (info.ok() && !info->program.empty()) {
    plan.own_program = true;
    INSTEP_ASSIGN_OR_RETURN(plan.program, coord::find_program(info->program.front()));
    plan.arguments.assign(info->program.begin() + 1, info->program.end());
  } else {
    INSTEP_ASSIGN_OR_RETURN(plan.program, agent_program());
  }
  INSTEP_RETURN_IF_ERROR(plan_membership(options, plan.job->threads, plan.job->shards, plan));
  INSTEP_RETURN_IF_ERROR(check_memory(*plan.job, plan.agents));
  INSTEP_RETURN_IF_ERROR(check_report(options.report));
  if (!options.quiet) {
    std::printf("going on from round %llu (epoch %s of %lld)\n",
                static_cast<unsigned long long>(found.manifest.round),
                number(found.manifest.data_epoch, 2).c_str(),
                static_cast<long long>(plan.job->epochs));
    std::fflush(stdout);
  }
  return plan;
}

}  // namespace

int run_command(const Options& options) {
  if (const Status status = hosts_are_meant(options); !status.ok()) return fail(status.error());
  if (options.program.empty() && options.target.empty()) {
    return fail(
        invalid("instep run needs a job file (instep run JOB.toml) or a program of yours "
                "(instep run -n 4 -- ./program)"));
  }
  if (!on_hosts(options) && !options.listen.empty()) {
    return fail(invalid("--listen is of use only with --hosts or --hostfile"));
  }
  if (!on_hosts(options) && options.elastic_timeout_s) {
    return fail(invalid("--elastic-timeout is of use only with --hosts or --hostfile"));
  }
  std::optional<Places> places;
  if (on_hosts(options)) {
    auto read = read_places(options);
    if (!read.ok()) return fail(read.error());
    if (read->others.empty()) return run_command(options_alone(options, read->here));
    places = read.take();
  }
  auto drill = plan_drill(options);
  if (!drill.ok()) return fail(drill.error());
  auto job_text = read_job(options.target);
  if (!job_text.ok()) return fail(job_text.error());
  auto plan = plan_run(places ? options_here(options, places->here.slots) : options, *job_text);
  if (!plan.ok()) return fail(plan.error());
  plan->drill = drill.take();
  if (places) return train_on_hosts(options, *places, plan.take(), *job_text);
  auto dir = create_run_dir(
      options, plan->job ? plan->job->name : fs::path(options.program.front()).filename().string());
  if (!dir.ok()) return fail(dir.error());
  return Recorded(options, plan.take(), dir.take()).run(job_text->text);
}

int resume_command(const Options& options) {
  if (const Status status = hosts_are_meant(options); !status.ok()) return fail(status.error());
  if (options.listen.empty() && (options.local || options.insecure)) {
    return fail(invalid(cat(options.local ? "--local" : "--insecure",
                            " is of runs on many hosts: it needs --listen")));
  }
  if (options.listen.empty() && !on_hosts(options) && options.elastic_timeout_s) {
    return fail(
        invalid("--elastic-timeout is of runs on many hosts: it needs --listen or --hosts"));
  }
  std::optional<Places> places;
  if (on_hosts(options)) {
    auto read = read_places(options);
    if (!read.ok()) return fail(read.error());
    if (read->others.empty()) return resume_command(options_alone(options, read->here));
    places = read.take();
  }
  auto drill = plan_drill(options);
  if (!drill.ok()) return fail(drill.error());
  const auto run = coord::find_run(options.target);
  if (!run.ok()) return fail(run.error());
  // Held before its checkpoints are looked at: a living launcher may be writing them.
  std::error_code error;
  if (!fs::exists(*run / "run.json", error)) {
    return fail(
        {ErrorKind::kNotFound, cat(run->string(), " is no run directory: it has no run.json")});
  }
  auto dir = coord::RunDir::reopen(*run);
  if (!dir.ok()) return fail(dir.error());
  std::vector<std::string> warnings;
  const bool listens = !options.listen.empty();
  auto plan = plan_resume(places    ? options_here(options, places->here.slots)
                          : listens ? options_here(options, options.local)
                                    : options,
                          *run, warnings);
  if (!plan.ok()) return fail(plan.error());
  plan->drill = drill.take();
  if (!places && !listens) {
    auto files = coord::find_job_files(*plan->job, dir->path());
    if (!files.ok()) return fail(files.error());
    plan->files = files.take();
    return Recorded(options, plan.take(), dir.take()).run("", warnings);
  }
  if (plan->own_program) {
    return fail(invalid(cat(places ? "--hosts" : "--listen", ": ", run->string(),
                            " is a run of your own program, which trains on one host")));
  }
  if (places) return train_on_hosts(options, *places, plan.take(), {}, dir.take(), warnings);
  if (const Status fit = agents_fit(options, *plan); !fit.ok()) return fail(fit.error());
  return train_with_hosts(options, plan.take(), {}, dir.take(), warnings);
}

}  // namespace instep::cli
