#include "cli/remote_run.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "base/duration.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/text.h"
#include "cli/first_run.h"
#include "cli/host_list.h"
#include "coord/joined_host.h"
#include "coord/remote.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kMaxHostFile = 1 << 20;
// A machine that does not answer is one that cannot be reached; ssh by itself may wait for ever.
constexpr const char* kRsh = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15";
// For hosts that have finished the run to say goodbye.
constexpr std::int64_t kEndLimitMs = 10'000;

Result<std::vector<ListedHost>> listed(const Options& options) {
  if (options.hostfile.empty()) return parse_host_words(options.hosts);
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(options.hostfile, kMaxHostFile));
  return parse_host_file(text, options.hostfile);
}

// The first host holds the run's records and its state, so it must be one that trains.
Result<Places> place(std::vector<ListedHost> hosts) {
  const auto mine = [](const ListedHost& host) { return is_this_machine(host.name); };
  const auto here = std::find_if(hosts.begin(), hosts.end(), mine);
  if (here == hosts.end()) {
    return invalid(cat("none of the hosts is this machine (", machine_name(),
                       "), which trains too; add localhost to them, or run this on ",
                       hosts.front().name));
  }
  if (const auto again = std::find_if(here + 1, hosts.end(), mine); again != hosts.end()) {
    return invalid(cat(here->name, " and ", again->name,
                       " are both this machine; give all its slots in one place"));
  }
  Places out;
  out.here = *here;
  hosts.erase(here);
  out.others = std::move(hosts);
  return out;
}

// Where the first of the others sees us. Its name may be one that only ssh knows: then everywhere,
// and by our name.
Result<fabric::Address> address_for(const Options& options, const Places& places) {
  if (!options.listen.empty()) {
    auto listen = fabric::parse_address(options.listen, fabric::kAnyPort);
    if (!listen.ok()) return invalid(cat("--listen: ", listen.error().message));
    return listen;
  }
  constexpr std::uint16_t kSomePort = 22;  // nothing is sent there
  const std::string& name = places.others.front().name;
  const std::size_t at = name.find('@');
  const auto seen =
      coord::address_towards({at == std::string::npos ? name : name.substr(at + 1), kSomePort});
  return fabric::Address{seen.ok() ? *seen : "0.0.0.0", fabric::kAnyPort};
}

// How many agents there may be: what -n says, or just those of the list; where a host's number is
// left to itself, as many as the job has shards.
Result<std::uint32_t> most_agents(const Options& options, const Places& places,
                                  const coord::LaunchPlan& plan) {
  std::uint64_t listed = plan.agents;
  bool known = true;
  for (const ListedHost& host : places.others) {
    listed += host.slots.value_or(1);
    known = known && host.slots;
  }
  const auto shards = static_cast<std::uint32_t>(plan.job->shards);
  if (listed > shards) {
    return invalid(cat("the hosts have ", listed, " slots, and the job ", shards,
                       " shards, so at most as many agents can train; set shards higher"));
  }
  if (!options.agents) return known ? static_cast<std::uint32_t>(listed) : shards;
  if (*options.agents < listed) {
    return invalid(cat("the hosts have ", listed, " slots, and -n allows ", *options.agents,
                       " agents; all that are listed train"));
  }
  INSTEP_RETURN_IF_ERROR(agents_fit(options, plan));
  return *options.agents;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    if (text.empty()) return out;
    const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

// As one word of a shell's.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// What a host may call itself.
std::string alias_of(const ListedHost& host) {
  constexpr std::size_t kMost = 64;
  std::string out = host.name.substr(0, kMost);
  for (char& c : out) {
    if (c == '@' || c == ':' || c == '%') c = '_';
  }
  return out;
}

// The login's shell may be of any kind.
Result<std::string> words_for(const Options& options, const ListedHost& host) {
  std::string script;
  if (options.remote_dir) script += cat("cd ", shell_word(*options.remote_dir), " || exit; ");
  if (options.remote_instep) {
    script += cat("exec ", shell_word(*options.remote_instep));
  } else {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (error) return os_error("read", "/proc/self/exe", error.value());
    script += cat("p=", shell_word(self.string()), "; [ -x \"$p\" ] || p=instep; exec \"$p\"");
  }
  script += cat(" agent --join - --name ", shell_word(alias_of(host)));
  if (host.slots) script += cat(" -n ", *host.slots);
  if (options.no_pin) script += " --no-pin";
  if (options.no_replace) script += " --no-replace";
  return cat("sh -c ", shell_word(script));
}

Result<coord::Remote> start_others(const Options& options, const Places& places,
                                   const FirstRun& first) {
  coord::Remote::Plan plan;
  plan.command = split(options.rsh.value_or(kRsh));
  if (plan.command.empty()) return invalid("--rsh needs a command, as 'ssh -p 2222'");
  for (const ListedHost& host : places.others) {
    INSTEP_ASSIGN_OR_RETURN(std::string words, words_for(options, host));
    plan.hosts.push_back({host.name, alias_of(host), std::move(words)});
  }
  plan.line = to_text(first.host->line());
  plan.logs = first.dir.path() / "logs";
  plan.again = !options.no_replace;
  return coord::Remote::start(std::move(plan));
}

void say(const Options& options, const Places& places, const FirstRun& first) {
  if (options.quiet) return;
  std::vector<std::string> names;
  for (const ListedHost& host : places.others) names.push_back(host.name);
  const fabric::JoinLine& line = first.host->line();
  std::printf("starting %s by %s; this machine listens on %s\n", join(names, ", ").c_str(),
              split(options.rsh.value_or(kRsh)).front().c_str(),
              to_text(fabric::Address{line.host, line.port}).c_str());
  if (options.agents) {
    std::printf("up to %u agents may train: instep token %s --make prints a line to join by\n",
                *options.agents, first.dir.path().c_str());
  }
  std::fflush(stdout);
}

Result<FirstRun> begin(const Options& options, const Places& places, coord::LaunchPlan plan,
                       const JobText& job_text, std::optional<coord::RunDir> dir) {
  coord::FirstHost::Plan first;
  INSTEP_ASSIGN_OR_RETURN(first.listen, address_for(options, places));
  // All that are listed, and after that whoever is left or comes.
  first.rules.min_hosts = static_cast<std::uint32_t>(places.others.size() + 1);
  first.rules.gather_limit = 0;
  INSTEP_ASSIGN_OR_RETURN(first.rules.max_agents, most_agents(options, places, plan));
  first.rules.min_agents = options.min_agents;
  first.rules.wait_limit = elastic_timeout_ns(options);
  first.token_seconds.reset();  // nobody sees the line, and it lets in who is started again
  return open_first(options, std::move(plan), job_text, std::move(first), std::move(dir));
}

}  // namespace

bool on_hosts(const Options& options) {
  return !options.hosts.empty() || !options.hostfile.empty();
}

Status hosts_are_meant(const Options& options) {
  if (!on_hosts(options)) {
    for (const auto& [given, flag] : {std::pair(options.rsh.has_value(), "--rsh"),
                                      {options.remote_instep.has_value(), "--remote-instep"},
                                      {options.remote_dir.has_value(), "--remote-dir"}}) {
      if (given) return invalid(cat(flag, " is of use only with --hosts or --hostfile"));
    }
    return {};
  }
  if (!options.program.empty()) {
    return invalid("a program of yours trains on one host only; several hosts need a job file");
  }
  return {};
}

Result<Places> read_places(const Options& options) {
  INSTEP_ASSIGN_OR_RETURN(std::vector<ListedHost> hosts, listed(options));
  INSTEP_ASSIGN_OR_RETURN(Places out, place(std::move(hosts)));
  if (out.others.empty() && options.agents) {
    return invalid(
        "-n is of all hosts together, and only this machine is listed; give its slots, as in "
        "--hosts localhost:2, or begin with `instep coordinator`, where others can join");
  }
  return out;
}

Options options_alone(const Options& options, const ListedHost& here) {
  Options out = options_here(options, here.slots);
  out.hosts.clear();
  out.hostfile.clear();
  out.listen.clear();
  out.rsh.reset();
  out.remote_instep.reset();
  out.remote_dir.reset();
  out.elastic_timeout_s.reset();
  return out;
}

int train_on_hosts(const Options& options, const Places& places, coord::LaunchPlan plan,
                   const JobText& job_text, std::optional<coord::RunDir> dir,
                   const std::vector<std::string>& warnings) {
  auto first = begin(options, places, std::move(plan), job_text, std::move(dir));
  if (!first.ok()) return fail(first.error());
  auto remote = start_others(options, places, *first);
  if (!remote.ok()) {
    first->dir.discard();
    return fail(remote.error());
  }
  say(options, places, *first);
  first->plan.remote = &*remote;
  first->plan.how_to_join = [again = !options.no_replace, dir = first->dir.path()] {
    return cat("  ", again ? "hosts of the list are started again; " : "",
               "a line for others: ", "instep token ", dir.string(), " --make");
  };
  const int code = train_first(options, first.take(), job_text.text, warnings);
  remote->finish(kEndLimitMs);
  return code;
}

}  // namespace instep::cli
