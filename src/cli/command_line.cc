#include "cli/command_line.h"

#include <charconv>
#include <functional>

#include "base/duration.h"
#include "base/text.h"
#include "base/version.h"
#include "fabric/host_memory.h"

namespace instep::cli {
namespace {

// The option's value as CLI11 checks it before it is converted.
CLI::Option* add_agents(CLI::App* command, Options& options, const char* help) {
  const auto check = [](const std::string& text) {
    const auto range = parse_agents(text);
    if (range.ok() && text.find(':') == std::string::npos) return std::string();
    return cat("found '", text, "'; allowed: a number of agents, 1 to ", fabric::kMaxSlots);
  };
  return command->add_option("-n,--agents", options.agents, help)
      ->check(CLI::Validator(check, "NUMBER"));
}

constexpr const char* kAgentsHelp =
    "agents to start (default: as many as there are processors for, at most one a shard); MIN:MAX: "
    "below MIN the run waits. With --hosts: of all of them, and further ones may join up to MAX";

// Of runs, whose agents may come and go.
void add_agent_range(CLI::App* command, Options& options, const char* help) {
  const auto check = [](const std::string& text) {
    const auto range = parse_agents(text);
    return range.ok() ? std::string() : range.error().message;
  };
  const std::function<void(const std::string&)> take = [&options](const std::string& text) {
    const auto range = parse_agents(text);
    if (!range.ok()) return;  // which check() has said
    options.agents = range->most;
    options.min_agents = range->least;
  };
  const CLI::Validator range(check, "N or MIN:MAX");
  CLI::Option* agents = command->add_option_function("-n,--agents", take, help)->check(range);
  command->add_option_function("--nnodes", take, "the same as -n, as torchrun spells it")
      ->check(range)
      ->excludes(agents);
}

CLI::Option* add_duration(CLI::App* command, const char* name, std::optional<std::int64_t>& into,
                          const char* help) {
  const auto check = [](const std::string& text) {
    const auto read = parse_duration(text);
    return read.ok() ? std::string() : read.error().message;
  };
  const std::function<void(const std::string&)> take = [&into](const std::string& text) {
    if (const auto read = parse_duration(text); read.ok()) into = *read;  // else check() has said
  };
  return command->add_option_function(name, take, help)->check(CLI::Validator(check, "TIME"));
}

// Of the host on which a run of many hosts begins.
void add_elastic_timeout(CLI::App* command, Options& options) {
  const auto read = [](const std::string& text) {
    return text == "0" || text == "0s" ? Result<std::int64_t>(0) : parse_duration(text);
  };
  const auto check = [read](const std::string& text) {
    const auto found = read(text);
    return found.ok() ? std::string() : cat(found.error().message, ", or 0");
  };
  const std::function<void(const std::string&)> take = [&options, read](const std::string& text) {
    if (const auto found = read(text); found.ok()) options.elastic_timeout_s = *found;
  };
  command
      ->add_option_function("--elastic-timeout", take,
                            "with fewer agents left than MIN, wait so long for hosts to join; 0: "
                            "end at once (default: 60s)")
      ->check(CLI::Validator(check, "TIME"));
}

// How agents fail, in earnest and for a drill.
void add_fault_options(CLI::App* command, Options& options) {
  command->add_flag("--no-replace", options.no_replace,
                    "start no agent in the place of a dead one, and no host that is lost again");
  command->add_option("--fault", options.fault,
                      "a drill, as 'kill 2 at 100; hang 1 at 200 for 5s; slow 3 by 3x at 50; "
                      "join at 300; leave 0 at 400; flip at 120'");
  command->add_option("--chaos", options.chaos,
                      "faults at random, as 'mtbf=2s,seed=7,kinds=kill+hang+join+leave'");
}

void add_run_options(CLI::App* command, Options& options) {
  command->add_option("--report", options.report, "write the report (JSON) to this file as well");
  command->add_flag("--quiet,-q", options.quiet, "say nothing but errors");
  command->add_flag("--no-pin", options.no_pin, "do not bind agents to processors");
}

// Of a run that starts the other hosts itself: the list of them in both forms.
struct HostLists {
  CLI::Option* file = nullptr;
  CLI::Option* words = nullptr;
};
HostLists add_host_options(CLI::App* command, Options& options) {
  CLI::Option* file = command->add_option(
      "--hostfile", options.hostfile, "file of hosts to train on, a line a host: 'node1 slots=4'");
  CLI::Option* words =
      command
          ->add_option(
              "--hosts", options.hosts,
              "hosts to train on, this one among them, with the agents on each: NAME[:SLOTS],…")
          ->excludes(file);
  command->add_option("--rsh", options.rsh,
                      "what runs a command there, in the place of 'ssh -o BatchMode=yes'");
  command->add_option("--remote-instep", options.remote_instep,
                      "instep's path there (default: this one's, else the one in PATH)");
  command->add_option("--remote-dir", options.remote_dir,
                      "working directory there (default: where a login begins)");
  return {file, words};
}

void add_sets(CLI::App* command, Options& options, const char* help) {
  command->add_option("--set", options.sets, help)->take_all()->allow_extra_args(false);
}

void define_agent(CLI::App& app, Options& options) {
  CLI::App* agent = app.add_subcommand(
      "agent",
      "join a run of another host, or train as one of the processes that torchrun, mpirun "
      "or srun started");
  CLI::Option* join = agent->add_option(
      "--join", options.join,
      "the line that instep coordinator has printed (with --insecure: HOST:PORT); -: reads it");
  add_agents(agent, options, "agents to start here (default: as many as there are processors for)");
  agent
      ->add_option("--listen", options.listen,
                   "ADDR or ADDR:PORT that other hosts can reach (default: the address from which "
                   "the coordinator is reached, any port)")
      ->needs(join);
  agent->add_option("--name", options.name, "what others call this host (default: its name)")
      ->needs(join);
  agent
      ->add_option("--orphan-timeout", options.orphan_timeout,
                   "without the coordinator for so long, finish the round, save and end "
                   "(default: 30s)")
      ->needs(join);
  add_run_options(agent, options);
  agent->add_flag("--no-replace", options.no_replace, "start no agent in the place of a dead one");
  agent->add_option("--run-dir", options.run_dir, "directory of the run (default: runs/NAME-TIME)");
  CLI::Option* from_env =
      agent
          ->add_flag("--from-env", options.from_env,
                     "as one of the processes that torchrun, mpirun or srun started; on several "
                     "hosts INSTEP_SECRET must be set")
          ->excludes(join);
  agent
      ->add_option("--address", options.address,
                   "of --from-env on several hosts: HOST:PORT where the host of rank 0 listens "
                   "(default: as the launcher's variables say; mpirun sets none)")
      ->needs(from_env);
  agent->add_flag("--insecure", options.insecure,
                  "join a coordinator that has --insecure; of --from-env on several hosts: without "
                  "INSTEP_SECRET. Anyone who reaches the first host's port can join");
  agent->add_option("JOB", options.target, "of --from-env: job file, or a folder with one");
  add_sets(agent, options, "of --from-env: KEY=VALUE: set a key of the job over its file");
}

// Of the host on which a run of many hosts begins.
void add_first_options(CLI::App* command, Options& options, const HostLists& lists = {}) {
  CLI::Option* local =
      command->add_option("--local", options.local,
                          "agents on this host (default: as many as there are processors for)");
  CLI::Option* ttl =
      command->add_option("--token-ttl", options.token_ttl,
                          "how long the printed line lets hosts in, as 90s, 10m, 2h (default: 1h)");
  add_elastic_timeout(command, options);
  CLI::Option* insecure =
      command
          ->add_flag("--insecure", options.insecure,
                     "hosts join by the address alone: anyone who reaches the port can")
          ->excludes(ttl);
  for (CLI::Option* list : {lists.file, lists.words}) {
    if (list != nullptr) list->excludes(local)->excludes(ttl)->excludes(insecure);
  }
}

CLI::Option* add_uses(CLI::App* command, Options& options) {
  const auto check = [](const std::string& text) {
    constexpr std::uint32_t kMost = 1'000'000;
    std::uint32_t uses = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, uses);
    const bool whole = read.ec == std::errc() && read.ptr == end;
    if (whole && uses >= 1 && uses <= kMost) return std::string();
    return cat("found '", text, "'; allowed: a number of hosts, 1 to ", kMost);
  };
  return command->add_option("--uses", options.uses, "hosts that it lets in (default: any number)")
      ->check(CLI::Validator(check, "NUMBER"));
}

// What concerns the other hosts of a run.
void define_sharing(CLI::App& app, Options& options) {
  CLI::App* token =
      app.add_subcommand("token", "list, make or revoke the tokens by which hosts join");
  token->add_option("RUN", options.target, "directory or name of the run")->required();
  CLI::Option* make =
      token->add_flag("--make", options.make, "make a token and print the line to join by");
  add_uses(token, options)->needs(make);
  add_duration(token, "--ttl", options.ttl_s,
               "how long it is valid, as 10m, 2h (default: as long as the run)")
      ->needs(make);
  token->add_option("--revoke", options.revoke, "the token that shall let nobody in any more")
      ->option_text("TOKEN")
      ->excludes(make);

  CLI::App* audit = app.add_subcommand("audit", "show who came to a run, and who was let in");
  audit->add_option("RUN", options.target, "directory or name of the run")->required();
  audit->add_flag("--json", options.json, "as JSON, a line an event");
}

}  // namespace

void define(CLI::App& app, Options& options) {
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("instep ") + kVersion);
  app.footer("See docs/cli.md for everything about these commands, docs/job.md for job files.");

  CLI::App* run = app.add_subcommand("run", "train a job, or run a program of yours (after --)");
  run->add_option("JOB", options.target, "job file, or a folder with one");
  add_agent_range(run, options, kAgentsHelp);
  add_run_options(run, options);
  add_fault_options(run, options);
  add_sets(run, options, "KEY=VALUE: set a key of the job over its file (repeatable)");
  run->add_option("--run-dir", options.run_dir, "directory of the run (default: runs/NAME-TIME)");

  add_host_options(run, options);
  run->add_option("--listen", options.listen,
                  "ADDR or ADDR:PORT that the other hosts can reach (default: the address from "
                  "which the first of them is reached, any port)");
  add_elastic_timeout(run, options);

  CLI::App* resume = app.add_subcommand("resume", "go on with a run from its last checkpoint");
  resume->add_option("RUN", options.target, "directory or name of the run")->required();
  add_agent_range(resume, options, kAgentsHelp);
  add_run_options(resume, options);
  add_fault_options(resume, options);
  add_sets(resume, options,
           "KEY=VALUE: change epochs, stop.*, checkpoint.* or faults.* (repeatable)");

  resume->add_option("--listen", options.listen,
                     "ADDR:PORT: on this host and on those that join there; -n is of all then. "
                     "With --hosts as in run");
  add_first_options(resume, options, add_host_options(resume, options));

  CLI::App* first = app.add_subcommand("coordinator", "train a job here and on hosts that join");
  first->add_option("JOB", options.target, "job file, or a folder with one")->required();
  first->add_option("--listen", options.listen,
                    "ADDR:PORT that other hosts can reach (default: 127.0.0.1:4600)");
  add_agent_range(first, options,
                  "agents of all hosts together (default: those here); MIN:MAX: training begins "
                  "with MIN, after a little while for more, and hosts may come in up to MAX");
  add_first_options(first, options);
  add_run_options(first, options);
  add_sets(first, options, "KEY=VALUE: set a key of the job over its file (repeatable)");
  first->add_option("--run-dir", options.run_dir, "directory of the run (default: runs/NAME-TIME)");

  define_agent(app, options);

  CLI::App* evaluate = app.add_subcommand("eval", "evaluate a checkpoint on its job's data");
  evaluate->add_option("CHECKPOINT", options.target, "checkpoint, or a run's newest")->required();
  add_agents(evaluate, options,
             "agents to start (default: as many as there are processors for, at most one a shard)");
  add_run_options(evaluate, options);

  CLI::App* predict = app.add_subcommand("predict", "apply a checkpoint's model to an input");
  predict->add_option("CHECKPOINT", options.target, "checkpoint, or a run's newest")->required();
  predict->add_option("INPUT", options.input, "file of samples")->required();

  CLI::App* out = app.add_subcommand("export", "write a checkpoint's model for Python");
  out->add_option("CHECKPOINT", options.target, "checkpoint, or a run's newest")->required();
  out->add_option("-o,--output", options.output, "folder to write to")->required();
  out->add_flag("--ema", options.ema, "the averaged weights (ema.decay)");
  out->add_flag("--quiet,-q", options.quiet, "say nothing but errors");

  CLI::App* inspect = app.add_subcommand("inspect", "show what a checkpoint holds");
  inspect->add_option("CHECKPOINT", options.target, "checkpoint, or a run's newest")->required();
  inspect->add_flag("--json", options.json, "as JSON");

  CLI::App* check =
      app.add_subcommand("check", "check a job and its data, and show what would run");
  check->add_option("JOB", options.target, "job file, or a folder with one")->required();
  add_agents(check, options, "agents to reckon with");
  add_sets(check, options, "KEY=VALUE: set a key of the job over its file (repeatable)");

  CLI::App* plot = app.add_subcommand("plot", "draw loss, metrics and throughput of runs as SVG");
  plot->add_option("RUN", options.targets, "directories or names of runs")->required();
  plot->add_option("-o,--output", options.output, "file *.svg (default, of one run: RUN/plot.svg)");
  plot->add_option("--by", options.by, "from left to right: round (default), epoch or time")
      ->check(CLI::Validator(
          [](const std::string& word) {
            if (word == "round" || word == "epoch" || word == "time") return std::string();
            return cat("found '", word, "'; allowed: round, epoch, time");
          },
          "WORD"));
  plot->add_flag("--log", options.log_loss, "a logarithmic axis for the loss");
  plot->add_flag("--quiet,-q", options.quiet, "say nothing but errors");

  app.add_subcommand("ls", "list runs");

  CLI::App* stop = app.add_subcommand("stop", "ask a run to save a checkpoint and end");
  stop->add_option("RUN", options.target, "directory or name of the run")->required();
  stop->add_flag("--quiet,-q", options.quiet, "say nothing but errors");

  CLI::App* scale = app.add_subcommand("scale", "add agents to a run, or take some away");
  scale->add_option("RUN", options.target, "directory or name of the run")->required();
  add_agents(scale, options, "agents that it shall have from now on")->required();
  scale->add_flag("--quiet,-q", options.quiet, "say nothing but errors");
  define_sharing(app, options);
}

}  // namespace instep::cli
