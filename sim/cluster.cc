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

void Cluster::schedule(AgentId agent, Nanoseconds after) {
  Slot& it = slot(agent);
  push(after, What::kStep, agent, ++it.token);
}

void Cluster::step(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it)) return;
  if (it.stops > 0) {
    it.missed_step = true;
    return;
  }
  it.process->timed_out = (it.asleep_on != nullptr) && !it.woken;
  it.woken = false;
  it.asleep_on = nullptr;
  it.asleep_for_news = false;
  it.still = 0;
  running_ = agent;
  try {
    const Nap nap = it.process->step();
    running_ = -1;
    if (it.process->torn() && (it.die_torn || it.stop_torn)) {
      const bool dies = std::exchange(it.die_torn, false);
      it.stop_torn = false;
      counts.note(dies ? "killed in the midst of stores" : "stopped in the midst of stores");
      if (dies) {
        it.signal = SIGKILL;
        return die(agent);
      }
      stop(agent, upto(100 * kMillisecond));
    }
    if (it.process->done()) {
      it.signal = 0;
      it.doomed = true;
      push(upto(3 * kMillisecond), What::kDie, agent, it.life);
      return;
    }
    it.asleep_on = nap.word;
    it.asleep_for_news = nap.news;
    schedule(agent, nap.time);
  } catch (const Killed&) {
    running_ = -1;
    it.signal = SIGKILL;
    die(agent);
  }
}

void Cluster::wakes(const void* word) {
  if (bridge_ != nullptr) bridge_->woken(word);
  for (AgentId agent = 0; agent < count(); ++agent) {
    Slot& it = slot(agent);
    if (it.asleep_on != word || !lives(it)) continue;
    it.woken = true;
    if (it.stops > 0) {
      it.missed_step = true;
    } else {
      schedule(agent, 3 * kMicrosecond + upto(60 * kMicrosecond));
    }
  }
}

int Cluster::passes(std::string_view failpoint) {
  if (running_ < 0) return 0;
  Slot& it = slot(running_);
  counts.note(cat("failpoint ", failpoint));
  // Within an exchange any step may be the last one anyway.
  for (const std::string_view step : {"exchange.", "update.", "undo."}) {
    if (failpoint.substr(0, step.size()) == step) return 0;
  }
  const bool here = !it.die_where.empty() && it.die_where == failpoint;
  if (here || (it.die_at_point && (*it.die_at_point)-- == 0)) {
    it.die_at_point.reset();
    it.die_where = {};
    counts.note(cat("killed at ", failpoint));
    trace(running_, cat("is killed at ", failpoint));
    throw Killed();
  }
  return 0;
}

std::uint64_t Cluster::tear(AgentId agent, std::uint64_t elements) {
  Slot& it = slot(agent);
  const bool now = it.die_torn || it.stop_torn || random.below(24) == 0;
  return now ? random.below(elements) : elements;
}

void Cluster::start(AgentId agent) {
  Slot& it = slot(agent);
  if (it.process && !it.reaped) throw Violation(cat("agent ", agent, " is started and is there"));
  fabric::AgentWords& words = memory.words(agent);
  it.process.reset();
  std::destroy_at(&words);
  std::construct_at(&words);
  const std::uint64_t life = it.life + 1;
  const std::uint64_t token = it.token;
  it = Slot{};
  it.life = life;
  it.token = token;
  it.told_end = it.reaped = false;
  it.process = std::make_unique<Process>(*this, agent, slowness_[static_cast<std::size_t>(agent)]);
  it.process->tear = [this, agent](std::uint64_t elements) { return tear(agent, elements); };
  counts.note("processes");
  trace(agent, "is started");
  schedule(agent, upto(random.below(3) == 0 ? 60 * kMillisecond : 8 * kMillisecond));
}

void Cluster::kill(AgentId agent, Nanoseconds after, int signal) {
  Slot& it = slot(agent);
  if (!lives(it) || it.doomed) return;
  it.doomed = true;
  it.signal = signal;
  trace(agent, "gets a signal that kills");
  if (plant == Plant::kEarlyProof) {
    it.proved = it.link_ended = true;
    after += upto(500 * kMillisecond);
    look_again();
  }
  push(after, What::kDie, agent, it.life);
}

// It executes nothing any more. That it is so is known later.
void Cluster::die(AgentId agent) {
  Slot& it = slot(agent);
  if (it.dead) return;
  it.dead = true;
  it.doomed = true;
  if (it.signal != 0) killed_in_ = std::max(killed_in_, begun_);
  ++it.token;
  it.in.clear();
  trace(agent, cat("is dead, signal ", it.signal));
  push(upto(random.below(3) == 0 ? 30 * kMillisecond : 500 * kMicrosecond), What::kProof, agent,
       it.life);
  if (random.below(2) == 0) {  // its link may be seen to end before
    it.link_ended = true;
    look_again();
  }
}

void Cluster::stop(AgentId agent, Nanoseconds time, bool alone) {
  Slot& it = slot(agent);
  if (!lives(it)) return;
  ++it.stops;
  if (alone && !it.still_since) it.still_since = now();
  trace(agent, cat("is stopped for ", time / kMicrosecond, " us"));
  push(time, What::kContinue, agent, it.life);
}

void Cluster::go_on(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it) || it.stops == 0) return;
  --it.stops;
  if (it.stops > 0) return;
  it.still += now() - it.still_since.value_or(now());
  it.still_since.reset();
  trace(agent, "goes on");
  for (std::size_t i = 0; i < it.in.size(); ++i) {
    push(upto(200 * kMicrosecond), What::kDeliver, agent, it.life);
  }
  if (it.missed_step) schedule(agent, upto(200 * kMicrosecond));
  it.missed_step = false;
}

// To an agent, in order.
void Cluster::post(AgentId agent, wire::Message message) {
  Slot& it = slot(agent);
  if (!lives(it)) {
    tell(member::LinkEnded{agent, ""});
    return;
  }
  it.in.push_back(std::move(message));
  const Nanoseconds slow = random.below(30) == 0 ? 20 * kMillisecond : 200 * kMicrosecond;
  it.in_at = std::max(it.in_at, now() + 5 * kMicrosecond + upto(slow));
  push(it.in_at - now(), What::kDeliver, agent, it.life);
}

void Cluster::deliver(AgentId agent) {
  Slot& it = slot(agent);
  if (!lives(it) || it.stops > 0 || it.in.empty()) return;
  const wire::Message message = std::move(it.in.front());
  it.in.pop_front();
  it.process->hear(message);
  if (it.asleep_for_news) {
    it.asleep_for_news = false;
    schedule(agent, 3 * kMicrosecond + upto(50 * kMicrosecond));
  }
  if (const void* word = it.process->asleep_on()) wakes(word);
}

void Cluster::send(AgentId from, wire::Message message) {
  Slot& it = slot(from);
  const Nanoseconds slow = random.below(30) == 0 ? 20 * kMillisecond : 100 * kMicrosecond;
  it.out_at = std::max(it.out_at, now() + 5 * kMicrosecond + upto(slow));
  it.out.emplace_back(it.out_at, std::move(message));
  look_again();
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
