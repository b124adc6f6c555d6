#include "coord/crew.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/failpoint.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"

namespace instep::coord {
namespace {

// An agent that does not read for so long counts as lost.
constexpr int kSendLimitMilliseconds = 10'000;

void set_unless_given(std::vector<std::pair<std::string, std::string>>& environment,
                      const char* name, const std::string& value) {
  if (std::getenv(name) == nullptr) environment.emplace_back(name, value);
}

// What a newcomer gets of processors that others use might never let it start.
constexpr std::int64_t kIdleStart = 3 * kSecond;

// Reads of one agent before the others and the clock get their turn. More than a socket or a pipe
// can hold, so that nothing of a dead agent's is left behind.
constexpr int kMostAtOnce = 4096;

bool passes_output(const LaunchPlan& plan) {
  return plan.own_program || plan.mode == Mode::kPredict;
}

std::uint32_t threads_of(const LaunchPlan& plan) {
  return static_cast<std::uint32_t>(plan.job ? plan.job->threads : 1);
}

// CPUs to pin to; none where pinning would only do harm: a quota below the number of CPUs says that
// others use them too, and all would crowd on the first ones.
std::vector<int> pinnable(const LaunchPlan& plan) {
  if (!plan.pin) return {};
  std::vector<int> usable = usable_cpus();
  if (usable_cpu_count() < static_cast<int>(usable.size())) return {};
  return usable;
}

}  // namespace

Result<Crew> Crew::start(const LaunchPlan& plan, std::uint32_t slots) {
  INSTEP_CHECK(plan.agents >= 1 && plan.agents <= slots && slots <= fabric::kMaxSlots,
               "number of agents");
  Crew crew(plan);
  const std::size_t wanted = static_cast<std::size_t>(plan.agents) * threads_of(plan);
  crew.claims_ = CpuClaims::take(pinnable(plan), wanted);
  crew.members_.resize(slots);
  for (std::uint32_t agent = 0; agent < plan.agents; ++agent) {
    INSTEP_RETURN_IF_ERROR(crew.add(agent, false));
  }
  INSTEP_ASSIGN_OR_RETURN(crew.files_, fabric::make_host_files(slots, plan.hosted));
  INSTEP_ASSIGN_OR_RETURN(crew.control_, fabric::Mapping::map(crew.files_.control, true));
  return crew;
}

std::uint32_t Crew::free_seat() const {
  for (std::uint32_t seat = 0;; ++seat) {
    const bool taken = std::any_of(members_.begin(), members_.end(), [seat](const Member& it) {
      return !it.gone && it.seat == seat;
    });
    if (!taken) return seat;
  }
}

Status Crew::start_agent(std::uint32_t agent, bool beside) {
  failpoint("launch.start");
  newest_round();
  fabric::AgentWords& words = page()->agents[agent];
  // Nobody reads them, and nobody writes them (decide() has seen to that).
  std::destroy_at(&words);
  std::construct_at(&words);
  Status started = add(agent, beside && may_leave_idle());
  if (!started.ok()) members_[agent] = Member{};
  failpoint("launch.started");
  return started;
}

Status Crew::add(std::uint32_t agent, bool idle) {
  const LaunchPlan& plan = *plan_;
  const std::uint32_t seat = free_seat();
  members_[agent] = Member{};
  Member& member = members_[agent];
  member.seat = seat;
  INSTEP_ASSIGN_OR_RETURN(auto ends, fabric::make_control_pair());
  member.link = std::make_unique<fabric::ControlLink>(std::move(ends.first));
  INSTEP_RETURN_IF_ERROR(member.link->limit_sending(kSendLimitMilliseconds));
  member.log = plan.run_dir / "logs" / cat("agent-", agent, ".log");
  const Fd log(::open(member.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  struct stat info {};
  if (!log.valid() || ::fstat(log.get(), &info) != 0) return os_error("write", member.log, errno);
  member.log_from = static_cast<std::uint64_t>(info.st_size);

  ProcessPlan process;
  process.program = plan.program;
  process.arguments = plan.arguments;
  process.idle = idle;
  process.inherited = ends.second.get();
  process.lock = plan.lock;
  process.output = process.errors = log.get();
  Fd writing;
  if (passes_output(plan)) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return os_error("make", "a pipe", errno);
    member.output = Fd(pipe[0]);
    writing = Fd(pipe[1]);
    ::fcntl(member.output.get(), F_SETFL, O_NONBLOCK);
    process.output = writing.get();
  }
  const std::uint32_t threads = threads_of(plan);
  const std::vector<int>& cpus = claims_.order();
  if (!cpus.empty()) process.cpus = cpus_of(seat, threads, cpus);
  process.environment = {{"INSTEP_CONTROL_FD", std::to_string(ends.second.get())},
                         {"INSTEP_AGENT", std::to_string(agent)},
                         {"INSTEP_START_NS", std::to_string(plan.start_ns)}};
  if (plan.lock >= 0) process.environment.emplace_back("INSTEP_LOCK_FD", std::to_string(plan.lock));
  set_unless_given(process.environment, "MKL_CBWR", "AUTO");
  set_unless_given(process.environment, "OMP_NUM_THREADS", std::to_string(threads));
  INSTEP_ASSIGN_OR_RETURN(Process started, Process::start(process));
  member.process = std::make_unique<Process>(std::move(started));
  member.link_open = true;
  member.gone = false;
  member.idle_until = idle ? monotonic_ns() + kIdleStart : 0;
  return {};
}

void Crew::collect(std::vector<int>& descriptors) const {
  for (const Member& member : members_) {
    if (member.link_open) descriptors.push_back(member.link->socket());
    if (!member.gone) descriptors.push_back(member.process->pidfd());
    if (member.output.valid()) descriptors.push_back(member.output.get());
  }
}

std::vector<member::Event> Crew::drain(const LineSink& line) {
  std::vector<member::Event> out;
  for (std::uint32_t agent = 0; agent < size(); ++agent) {
    Member& member = members_[agent];
    const auto id = static_cast<member::AgentId>(agent);
    // Asked first, told last: what it wrote before it ended is there by now.
    if (!member.gone && member.idle_until > 0 && monotonic_ns() >= member.idle_until) {
      member.idle_until = 0;
      leave_idle(member.process->pid());
    }
    const Process::Ended end = member.gone ? Process::Ended{} : member.process->reap();
    drain_output(agent, member, line);
    drain_link(id, member, out);
    if (!end.ended) continue;
    member.gone = true;
    failpoint("launch.reaped");
    if (Status undone = undo(agent); !undone.ok()) {
      out.emplace_back(std::in_place_type<member::LauncherFailed>,
                       member::LauncherFailed{undone.error()});
    }
    failpoint("launch.undone");
    out.emplace_back(std::in_place_type<member::Exited>,
                     member::Exited{id, end.code, end.signal, words(agent), monotonic_ns()});
  }
  return out;
}

void Crew::drain_link(member::AgentId agent, Member& member, std::vector<member::Event>& out) {
  for (int messages = 0; member.link_open && messages < kMostAtOnce; ++messages) {
    auto polled = member.link->poll();
    if (!polled.ok()) {
      member.link_open = false;
      // A link that breaks off is what a death looks like from here; anything else is a bad
      // message.
      const bool broken = polled.error().kind == ErrorKind::kUnavailable;
      out.emplace_back(std::in_place_type<member::LinkEnded>,
                       member::LinkEnded{agent, broken ? std::string() : polled.error().message});
    } else if (polled->message) {
      out.emplace_back(std::in_place_type<member::Heard>,
                       member::Heard{agent, std::move(polled->message->message)});
    } else if (polled->ended) {
      member.link_open = false;
      out.emplace_back(std::in_place_type<member::LinkEnded>,
                       member::LinkEnded{agent, std::string()});
    } else {
      return;
    }
  }
}

void Crew::drain_output(std::uint32_t agent, Member& member, const LineSink& line) {
  const auto sink = [agent, &line](std::string_view text) { line(agent, text); };
  std::array<char, 16384> buffer{};
  for (int reads = 0; member.output.valid() && reads < kMostAtOnce; ++reads) {
    const ssize_t got = ::read(member.output.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      member.cutter.finish(sink);
      member.output.reset();
      return;
    }
    member.cutter.add(std::string_view(buffer.data(), static_cast<std::size_t>(got)), sink);
  }
}

Status Crew::welcome(std::uint32_t agent, wire::Welcome message, const Fd& dataset) {
  message.slots = size();
  message.processors = static_cast<std::uint32_t>(usable_cpu_count());
  message.has_dataset = dataset.valid();
  message.has_world = files_.world.valid();
  std::vector<int> descriptors = {files_.control.get(), files_.state.get()};
  if (dataset.valid()) descriptors.push_back(dataset.get());
  if (files_.world.valid()) descriptors.push_back(files_.world.get());
  for (const Fd& arena : files_.arenas) descriptors.push_back(arena.get());
  return members_[agent].link->send(message, descriptors);
}

Status Crew::send(std::uint32_t agent, const wire::Message& message, const Fd* beside) {
  std::vector<int> descriptors;
  if (beside != nullptr) descriptors.push_back(beside->get());
  failpoint("launch.send");
  Status sent = members_[agent].link->send(message, descriptors);
  failpoint("launch.sent");
  return sent;
}

bool Crew::signal(std::uint32_t agent, int signal) {
  if (!lives(agent)) return false;
  members_[agent].process->signal(signal);
  return true;
}

bool Crew::any() const {
  return std::any_of(members_.begin(), members_.end(), [](const Member& it) { return !it.gone; });
}

void Crew::hang_up() {
  for (Member& member : members_) {
    if (member.link) member.link->shut_down();
    member.link_open = false;
  }
}

std::string Crew::log_end(std::uint32_t agent) const {
  const Member& member = members_[agent];
  const std::string end = tail(member.log, member.log_from);
  return end.empty() ? cat("its log ", member.log.string(), " is empty")
                     : cat("its log ", member.log.string(), " ends:\n", end);
}

}  // namespace instep::coord
