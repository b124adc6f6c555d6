#include "cluster.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "hosts.h"

namespace instep::sim {

thread_local Cluster* running_cluster = nullptr;

namespace {

constexpr Nanoseconds kTooLong = 30 * kSecond;  // without a round, when nothing is in its way

}  // namespace

Cluster::Cluster(const Options& options, const Job& the_job, Memory& the_memory, Oracle& the_oracle,
                 Timeline& timeline, Random& the_random, Counts& the_counts, const Place* place)
    : Host(the_job, the_memory, the_oracle, the_random, the_counts),
      options_(options),
      timeline_(timeline),
      place_(place == nullptr ? Place() : *place) {
  hosted = place != nullptr;
  plant = options.plant;
  tracing = options.trace;
  slots_.resize(the_memory.slots());
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slowness_.push_back(random.below(4) == 0 ? 1.0 + static_cast<double>(random.below(30)) / 10.0
                                             : 1.0);
  }
  member::Rules& rules = rules_;
  rules.agents = 1 + static_cast<std::uint32_t>(random.below(5));
  rules.slots = the_memory.slots();
  rules.agents = std::min(rules.agents, rules.slots);
  rules.min_agents = random.below(3) == 0 ? std::min(rules.agents, 2U) : 1;
  rules.patience_ceiling = 2 * kSecond;
  if (hosted) {
    rules.agents = std::min(place_.agents, rules.slots);
    rules.min_agents = std::min(rules.min_agents, rules.agents);
    rules.hosted = true;
    rules.late = place_.late;
    progress_at_ = now();
  }
  start_desk();
  plan_faults();
  for (std::uint32_t agent = 0; agent < rules.agents; ++agent) {
    start(static_cast<AgentId>(agent));
  }
}

void Cluster::push(Nanoseconds after, What what, AgentId agent, std::uint64_t token) {
  timeline_.push(after, *this, static_cast<std::uint32_t>(what), agent, token);
}

void Cluster::trace(AgentId agent, const std::string& what) {
  if (!tracing) return;
  std::printf("%12.3f ms  ", static_cast<double>(now()) * 1e-6);
  if (hosted) std::printf("host %u ", place_.host);
  if (agent >= 0) std::printf("agent %d ", agent);
  std::printf("%s\n", what.c_str());
}

Report Cluster::run() {
  Report report;
  try {
    tell(member::Prepared{});
    while (!outcome_) {
      if (!timeline_.step()) throw Violation("nothing is left to happen");
      check_progress(kTooLong);
    }
    check_end();
  } catch (const Violation& violation) {
    report.violation = violation.what();
    trace(-1, cat("VIOLATION: ", report.violation));
  }
  report.rounds = done_;
  report.faults = injected_;
  report.hash = timeline_.hash();
  report.time_ns = now();
  report.events = timeline_.events();
  return report;
}

void Cluster::check_progress(Nanoseconds limit) const {
  if (gone_ || outcome_ || now() - progress_at_ <= limit) return;
  throw Violation(cat("no round was done for ", limit / kSecond, " s"));
}

void Cluster::happen(const Event& event) {
  if (gone_) return;
  running_cluster = this;
  const auto what = static_cast<What>(event.what);
  if (what == What::kStep) {
    Slot& it = slot(event.agent);
    if (event.token != it.token) return;
    note(mix(event.at, static_cast<std::uint64_t>(event.agent)));
    return step(event.agent);
  }
  note(mix(event.at, event.what, static_cast<std::uint64_t>(event.agent + 1)));
  if (what == What::kLook) {
    if (look_at_ && event.at == *look_at_) look();
    return;
  }
  if (what == What::kDesk || what == What::kDeskStart) {
    if (event.token != desk_.life) return;
    return what == What::kDesk ? hear_at_desk() : start_desk();
  }
  if (what == What::kFault) return inject();
  if (what == What::kEnding) {
    end();
    return look_again();
  }
  if (what == What::kUndo) return undo(event.agent);
  Slot& it = slot(event.agent);
  if (event.token != it.life) return;
  switch (what) {
    case What::kDeliver:
      return deliver(event.agent);
    case What::kDie:
      return die(event.agent);
    case What::kProof:
      it.proved = it.link_ended = true;
      return look_again();
    case What::kContinue:
      return go_on(event.agent);
    case What::kTerminate:
      if (!lives(it) || it.process->done()) return;
      if (it.process->terminate()) {
        counts.note("asked to leave");
      } else {
        kill(event.agent, 0, SIGTERM);
      }
      return;
    default:
      return;
  }
}

void Cluster::round_begun(AgentId /*agent*/, std::uint64_t round) {
  if (round + 1 <= begun_) return;
  begun_ = round + 1;
  if (hosted) place_.begins(round);
  if (next_fault_ < faults_.size() && !fault_due_ && faults_[next_fault_].round <= round) {
    fault_due_ = true;
    push(upto(2 * kMillisecond), What::kFault, -1, 0);
  }
  if (end_at_ && round >= *end_at_) {
    end_at_.reset();
    push(upto(2 * kMillisecond), What::kEnding, -1, 0);
  }
}

void Cluster::round_done(AgentId /*agent*/, std::uint64_t round) {
  if (round <= done_) return;
  done_ = round;
  progress_at_ = now();
  // A kill that waits for its moment is still to come.
  const bool waits = std::any_of(slots_.begin(), slots_.end(), [this](const Slot& it) {
    return lives(it) && (it.die_torn || it.die_at_point || !it.die_where.empty());
  });
  if (done_ > killed_in_ + 2 && !waits) kills_ = 0;
}

bool Cluster::left_out(AgentId agent) {
  const auto& members = published_->members;
  return !member::contains(members, agent);
}

void Cluster::check_end() {
  const member::Reason reason = outcome_->reason;
  counts.note(cat("ended: ", member::describe(*outcome_)));
  const bool abandoned = ending_ == Ending::kAbandon || ending_ == Ending::kEarlyStop;
  if (abandoned && reason == member::Reason::kAbandoned) return;
  if (ending_ == Ending::kFailure && reason == member::Reason::kAgentFailed) return;
  if (reason != member::Reason::kFinished && reason != member::Reason::kStopped) {
    throw Violation(cat("the run ended: ", member::describe(*outcome_)));
  }
  if (reason == member::Reason::kFinished && done_ != job.rounds) {
    throw Violation(cat("the run is finished after ", done_, " of ", job.rounds, " rounds"));
  }
  check_state_at_end();
}

void Cluster::check_state_at_end() const {
  const Truth& truth = oracle.at(done_);
  const float* parameters = memory.parameters(done_);
  if (!std::equal(truth.parameters.begin(), truth.parameters.end(), parameters)) {
    throw Violation("the run leaves other parameters than an undisturbed one");
  }
}

std::string command(const Options& options) {
  std::string out = cat("./dev sim --seed ", options.seed, " --rounds ", options.rounds);
  if (options.hosts > 1) out += cat(" --hosts ", options.hosts);
  if (options.plant != Plant::kNone) out += cat(" --plant ", name_of(options.plant));
  return out;
}

Report simulate(const Options& options) {
  if (options.hosts > 1) return simulate_hosts(options);
  const Job job = Job::random(options.seed, options.rounds, 1);
  Random random(mix(options.seed, 100));
  const std::uint32_t slots = options.plant == Plant::kReuseSlot || random.below(4) == 0 ? 6 : 16;
  Memory memory(job, slots);
  Oracle oracle(job);
  Counts counts;
  Report report;
  Timeline timeline(random);
  Cluster cluster(options, job, memory, oracle, timeline, random, counts);
  report = cluster.run();
  for (std::size_t i = 0; i < cluster.turn_phases.size(); ++i) {
    if (cluster.turn_phases[i] > 0) counts.note(cat("Turn phase ", i), cluster.turn_phases[i]);
    if (cluster.exchange_phases[i] > 0) {
      counts.note(cat("Exchange phase ", i), cluster.exchange_phases[i]);
    }
  }
  report.counts = std::move(counts);
  return report;
}

}  // namespace instep::sim
