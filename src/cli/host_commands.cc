// Runs of many hosts: where one is begun, and where it is joined.
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iostream>

#include "base/duration.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/first_run.h"
#include "cli/from_env.h"
#include "cli/insecure.h"
#include "cli/joined_run.h"
#include "cli/recorded.h"

namespace instep::cli {
namespace {

// What --join says, or the first line of the standard input.
Result<std::string> line_text(const std::string& text) {
  if (text != "-") return text;
  constexpr std::size_t kMostBytes = 4096;
  std::string line(kMostBytes, '\0');
  std::cin.getline(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(std::strlen(line.c_str()));
  if (line.empty()) return invalid("there is no line to join by on the standard input");
  return line;
}

Result<fabric::JoinLine> read_line(const Options& options) {
  INSTEP_ASSIGN_OR_RETURN(const std::string text, line_text(options.join));
  if (options.insecure) return insecure_line(text);
  if (fabric::parse_address(text, fabric::kUsualPort).ok()) {
    return invalid(cat(text,
                       " lets nobody in by itself: give the whole line that the coordinator has "
                       "printed (instep://…), or start both it and this with --insecure, where "
                       "nobody else reaches it"));
  }
  return fabric::parse_join_line(text);
}

// What comes after --join.
std::string join_words(const Options& options, const fabric::JoinLine& line) {
  if (!options.insecure) return to_text(line);
  return cat(to_text(fabric::Address{line.host, line.port}), " --insecure");
}

void say_line(const Options& options, const fabric::JoinLine& line, std::uint32_t here) {
  const std::uint32_t least = options.min_agents;
  const std::string address = to_text(fabric::Address{line.host, line.port});
  const std::string good = options.insecure ? "as long as the run" : cat("for ", options.token_ttl);
  std::printf("listening on %s; on every other machine (good %s):\n\n", address.c_str(),
              good.c_str());
  std::printf("  instep agent --join %s\n\n", join_words(options, line).c_str());
  if (least > here) {
    std::printf("waiting for agents: %u of at least %u are here\n", here, least);
  }
  std::fflush(stdout);
}

// `plan` is of this host.
Result<coord::FirstHost::Plan> read_first(const Options& options, const coord::LaunchPlan& plan) {
  coord::FirstHost::Plan first;
  const auto ttl = parse_duration(options.token_ttl);
  if (!ttl.ok()) return invalid(cat("--token-ttl: ", ttl.error().message));
  const auto listen = fabric::parse_address(options.listen.empty() ? "127.0.0.1" : options.listen,
                                            fabric::kUsualPort);
  if (!listen.ok()) return invalid(cat("--listen: ", listen.error().message));
  first.listen = *listen;
  first.rules.max_agents = options.agents.value_or(plan.agents);
  first.rules.min_agents = std::min(options.min_agents, first.rules.max_agents);
  first.rules.wait_limit = elastic_timeout_ns(options);
  first.token_seconds = *ttl;
  first.insecure = options.insecure;
  if (options.insecure) {
    INSTEP_ASSIGN_OR_RETURN(first.shared, insecure_keys());
  }
  return first;
}

// As at the start; a line that lets nobody in any more is no help.
std::string how_to_join(const std::string& line, std::optional<std::int64_t> until_s,
                        const std::string& run) {
  if (until_s && std::time(nullptr) >= *until_s) {
    return cat("  a line to join by: instep token ", run, " --make");
  }
  return cat("  on another machine: instep agent --join ", line);
}

Result<coord::JoinedHost::Plan> plan_join(const Options& options) {
  coord::JoinedHost::Plan out;
  auto line = read_line(options);
  if (!line.ok()) return invalid(cat("--join: ", line.error().message));
  out.line = line.take();
  if (options.insecure) {
    out.disbelief =
        "it is no coordinator that was begun with --insecure: join it by the line that it has "
        "printed, without --insecure here";
  }
  const auto patience = parse_duration(options.orphan_timeout);
  if (!patience.ok()) return invalid(cat("--orphan-timeout: ", patience.error().message));
  out.meet_ms = out.patience_ms = *patience * 1000;
  if (!options.listen.empty()) {
    auto listen = fabric::parse_address(options.listen, fabric::kAnyPort);
    if (!listen.ok()) return invalid(cat("--listen: ", listen.error().message));
    out.listen = listen.take();
  }
  INSTEP_ASSIGN_OR_RETURN(out.agents, agent_count(options, 1, fabric::kMaxSlots));
  out.name = options.name.empty() ? machine_name() : options.name;
  return out;
}

}  // namespace

std::int64_t elastic_timeout_ns(const Options& options) {
  constexpr std::int64_t kUsualS = 60;
  return options.elastic_timeout_s.value_or(kUsualS) * kSecond;
}

Options options_here(const Options& options, std::optional<std::uint32_t> agents) {
  Options out = options;
  out.agents = agents;
  out.min_agents = 1;
  return out;
}

Result<coord::LaunchPlan> plan_first(const Options& options, const JobText& job_text) {
  INSTEP_ASSIGN_OR_RETURN(coord::LaunchPlan plan,
                          plan_run(options_here(options, options.local), job_text));
  INSTEP_RETURN_IF_ERROR(agents_fit(options, plan));
  return plan;
}

Status agents_fit(const Options& options, const coord::LaunchPlan& plan) {
  const std::uint32_t all = options.agents.value_or(plan.agents);
  if (plan.agents > all) {
    return invalid(cat("--local ", plan.agents, ": the run has at most ", all,
                       all == 1 ? " agent" : " agents", " in all (-n)"));
  }
  return agents_fit(all, *plan.job);
}

Status agents_fit(std::uint32_t all, const job::Job& job) {
  if (all <= job.shards) return {};
  return invalid(cat(all, " agents in all: the job has ", job.shards,
                     " shards, so at most as many agents can train; set shards higher"));
}

Result<FirstRun> open_first(const Options& options, coord::LaunchPlan plan, const JobText& job_text,
                            coord::FirstHost::Plan first, std::optional<coord::RunDir> dir) {
  if (!dir) {
    INSTEP_ASSIGN_OR_RETURN(dir, create_run_dir(options, plan.job->name));
  }
  first.rules.first_holds = !plan.checkpoint.empty();
  first.run_dir = dir->path();
  first.job_toml = job_text.text;
  first.job = *plan.job;
  first.agents = plan.agents;
  auto host = coord::FirstHost::open(first);
  if (!host.ok()) {
    dir->discard();
    return host.error();
  }
  plan.hosted = true;
  plan.bridge = &(*host)->bridge();
  plan.on_dataset = [it = host->get()](const Fd& image) { return it->dataset(image); };
  plan.files = (*host)->files();
  return FirstRun{std::move(plan), std::move(*dir), host.take()};
}

int train_first(const Options& options, FirstRun run, const std::string& job_toml,
                const std::vector<std::string>& warnings) {
  // Others take that for the end. A host that comes to the hub of a run which has not begun would
  // write into its directory while that is removed.
  const auto close = [&run] { run.host.reset(); };
  return Recorded(options, std::move(run.plan), std::move(run.dir)).run(job_toml, warnings, close);
}

int train_with_hosts(const Options& options, coord::LaunchPlan plan, const JobText& job_text,
                     std::optional<coord::RunDir> dir, std::vector<std::string> warnings) {
  auto first = read_first(options, plan);
  if (!first.ok()) return fail(first.error());
  const std::uint32_t here = plan.agents;
  std::optional<std::int64_t> until_s;
  if (!options.insecure) until_s = std::time(nullptr) + *first->token_seconds;
  auto run = open_first(options, std::move(plan), job_text, first.take(), std::move(dir));
  if (!run.ok()) return fail(run.error());
  const fabric::JoinLine& line = run->host->line();
  say_line(options, line, here);
  run->plan.how_to_join = [until_s, text = join_words(options, line), dir = run->dir.path()] {
    return how_to_join(text, until_s, dir.string());
  };
  if (options.insecure) warnings.push_back(coord::insecure_warning({line.host, line.port}));
  return train_first(options, run.take(), job_text.text, warnings);
}

int coordinator_command(const Options& options) {
  const auto job_text = read_job(options.target);
  if (!job_text.ok()) return fail(job_text.error());
  auto plan = plan_first(options, *job_text);
  if (!plan.ok()) return fail(plan.error());
  return train_with_hosts(options, plan.take(), *job_text);
}

int agent_command(const Options& options) {
  if (const Status status = flags_go_together(options); !status.ok()) return fail(status.error());
  if (options.from_env) return from_env_command(options);
  auto plan = plan_join(options);
  if (!plan.ok()) return fail(plan.error());
  JoinedRun run;
  run.agents = plan->agents;
  const auto insecure = is_insecure(plan->line);
  if (!insecure.ok()) return fail(insecure.error());
  if (*insecure) run.warnings = {coord::insecure_warning({plan->line.host, plan->line.port})};
  auto host = coord::JoinedHost::join(plan.take());
  if (!host.ok()) return fail(host.error());
  return train_joined(options, **host, run);
}

int train_joined(const Options& options, coord::JoinedHost& host, const JoinedRun& run) {
  coord::LaunchPlan plan;
  plan.job = host.job();
  plan.agents = run.agents;
  plan.replace = !options.no_replace;
  plan.patience_seconds = plan.job->faults.patience;
  if (const Status status = check_memory(*plan.job, plan.agents); !status.ok()) {
    return fail(status.error());
  }
  auto program = agent_program();
  if (!program.ok()) return fail(program.error());
  plan.program = program.take();
  plan.hosted = true;
  plan.stops_together = run.stops_together;
  plan.bridge = &host.bridge();
  auto dir = create_run_dir(options, plan.job->name);
  if (!dir.ok()) return fail(dir.error());
  plan.files = host.fetch(dir->path());
  return Recorded(options, std::move(plan), dir.take()).run(host.welcome().job_toml, run.warnings);
}

}  // namespace instep::cli
