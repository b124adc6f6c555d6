#include "coord/launcher.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "coord/crew.h"
#include "coord/narrator.h"
#include "coord/report.h"
#include "coord/scale.h"
#include "coord/sources.h"
#include "store/checkpoint.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;
using member::Phase;
using member::Reason;

constexpr std::int64_t kSecond = 1'000'000'000;

class Launcher : private Steering {
 public:
  explicit Launcher(const LaunchPlan& plan)
      : plan_(plan), narrator_(plan), checkpoint_(plan.checkpoint) {}
  LaunchResult run();

 private:
  // Steering, for the plan's drill.
  std::uint64_t round() const override;
  std::vector<member::AgentId> agents() const override;
  std::uint32_t wanted() const override { return state_.wanted; }
  bool signal(member::AgentId agent, int signal) override;
  Status scale(std::uint32_t agents) override;
  Status join() override { return scale(state_.wanted + 1); }
  Status leave(member::AgentId agent) override;
  Status flip_bit(std::uint64_t seed) override { return crew_->flip_bit(seed); }

  Status begin();
  void loop();
  void wait(std::int64_t until);
  std::int64_t next_wakeup() const;
  void feed(member::Event event);
  void act(const member::Action& action);
  void welcome(member::AgentId agent, bool joining);
  void publish(const member::Publish& action);
  void start(const member::Start& action);
  void take_book(bool checkpoint);
  void take_events();
  void take_dataset();
  void drill();
  void take_signals();
  void judge_time();
  void stop(const std::string& reason, bool by_signal, bool interrupted);
  void job_is_known(const job::Job& job);
  // An agent that cannot be told is gone, or as good as gone.
  void told(member::AgentId agent, const Status& status) {
    if (!status.ok()) feed(member::LinkEnded{agent, ""});
  }
  std::vector<std::string> agent_reports() const;
  LaunchResult result();

  const LaunchPlan& plan_;
  Narrator narrator_;
  StopSignals signals_;
  std::optional<Crew> crew_;
  std::shared_ptr<Loading> loading_;
  Fd dataset_;
  member::RunState state_;
  std::vector<member::Event> pending_;  // found while acting
  std::string job_json_, checkpoint_;
  std::optional<std::int64_t> wall_at_, drill_at_;
  std::optional<ScaleServer> scale_server_;
  bool drilled_out_ = false;  // the drill wants no more turns
};

// Of the host's memory: room for newcomers while the slots of the dead are still read.
std::uint32_t slots_of(const LaunchPlan& plan) {
  constexpr std::uint32_t kUsual = 16;
  if (plan.mode != Mode::kTrain) return plan.agents;
  const std::uint32_t agents = std::max(plan.agents, plan.max_agents);
  return std::min(fabric::kMaxSlots, std::max(kUsual, 2 * agents));
}

Status Launcher::begin() {
  member::Rules rules;
  rules.agents = plan_.agents;
  rules.min_agents = std::min(plan_.min_agents, plan_.agents);
  rules.slots = slots_of(plan_);
  rules.elastic = plan_.mode == Mode::kTrain;
  rules.replace = plan_.replace;
  rules.patience_ceiling = static_cast<std::int64_t>(plan_.patience_seconds * 1e9);
  rules.needs_view = !reads_alone(plan_.mode);
  if (plan_.own_program) rules.linger.reset();
  state_ = member::begin(rules);
  INSTEP_RETURN_IF_ERROR(narrator_.begin());
  if (plan_.job) {
    job_json_ = job::to_json(*plan_.job);
    job_is_known(*plan_.job);
  }
  if (plan_.mode == Mode::kTrain && plan_.records) {
    auto server = ScaleServer::listen(plan_.run_dir);
    if (server.ok()) {
      scale_server_.emplace(server.take());
    } else {
      log(LogLevel::kWarning,
          cat("instep scale will not reach this run: ", server.error().message));
    }
  }
  INSTEP_ASSIGN_OR_RETURN(Crew crew, Crew::start(plan_, rules.slots));
  crew_.emplace(std::move(crew));
  if (plan_.job && plan_.job->data.format != job::DataFormat::kNone && !reads_alone(plan_.mode)) {
    INSTEP_ASSIGN_OR_RETURN(loading_, Loading::begin(*plan_.job));
  } else {
    feed(member::Prepared{});
  }
  return {};
}

LaunchResult Launcher::run() {
  if (const Status status = begin(); !status.ok()) {
    LaunchResult out;
    out.outcome.reason = Reason::kLauncher;
    out.outcome.kind = status.error().kind;
    out.outcome.message = out.message = status.error().message;
    out.exit_code = member::exit_code(out.outcome);
    return out;
  }
  loop();
  return result();
}

void Launcher::loop() {
  while (state_.phase != Phase::kOver) {
    wait(next_wakeup());
    // What has arrived comes before what is late.
    take_events();
    take_dataset();
    take_signals();
    judge_time();
    if (scale_server_) scale_server_->serve(*this, monotonic_ns());
    drill();
    narrator_.look(monotonic_ns(), [this] { return crew_->snapshots(); });
    narrator_.flush();
  }
  narrator_.end();
}

void Launcher::take_events() {
  auto events = crew_->drain(
      [this](std::uint32_t agent, std::string_view line) { narrator_.output(agent, line); });
  const bool death = std::any_of(events.begin(), events.end(), [](const member::Event& event) {
    return std::holds_alternative<member::Exited>(event);
  });
  // Who is in by now and who is not, as fresh as can be.
  if (death && member::next_observation(state_)) feed(member::Observed{crew_->observe()});
  for (member::Event& event : events) feed(std::move(event));
}

void Launcher::drill() {
  if (!plan_.drill || drilled_out_ || state_.phase != Phase::kRunning) return;
  drill_at_ = plan_.drill(*this, monotonic_ns());
  drilled_out_ = !drill_at_;
}

std::uint64_t Launcher::round() const {
  return state_.view ? std::max(crew_->newest_round(), state_.completed) : 0;
}

std::vector<member::AgentId> Launcher::agents() const {
  std::vector<member::AgentId> out;
  if (!state_.view) return out;
  for (const member::AgentId agent : state_.view->members) {
    if (state_.agents[static_cast<std::size_t>(agent)].alive) out.push_back(agent);
  }
  return out;
}

bool Launcher::signal(member::AgentId agent, int signal) {
  return agent >= 0 && crew_->signal(static_cast<std::uint32_t>(agent), signal);
}

Status Launcher::scale(std::uint32_t agents) {
  const std::uint32_t most = crew_->size();
  if (agents < 1 || agents > most) {
    return invalid(cat(agents, agents == 1 ? " agent is" : " agents are",
                       " not possible here; 1 to ", most, " are"));
  }
  feed(member::ScaleAsked{agents});
  return {};
}

Status Launcher::leave(member::AgentId agent) {
  const std::vector<member::AgentId> all = agents();
  if (std::find(all.begin(), all.end(), agent) == all.end() || !signal(agent, SIGTERM)) {
    return Error{ErrorKind::kNotFound, cat("there is no agent ", agent, " in the run")};
  }
  return {};  // it says so, and one less is wanted then
}

std::int64_t Launcher::next_wakeup() const {
  std::int64_t until = std::min(monotonic_ns() + 3600 * kSecond, narrator_.next_look());
  if (const auto deadline = member::next_deadline(state_)) until = std::min(until, *deadline);
  if (const auto look = member::next_observation(state_)) until = std::min(until, *look);
  if (drill_at_ && state_.phase == Phase::kRunning) until = std::min(until, *drill_at_);
  if (wall_at_ && state_.view) until = std::min(until, *wall_at_);
  return until;
}

void Launcher::wait(std::int64_t until) {
  std::vector<int> descriptors = {signals_.descriptor()};
  if (loading_) descriptors.push_back(loading_->descriptor());
  if (scale_server_) descriptors.push_back(scale_server_->descriptor());
  crew_->collect(descriptors);
  std::vector<pollfd> polled;
  for (const int fd : descriptors) polled.push_back({fd, POLLIN, 0});
  const std::int64_t left = std::max<std::int64_t>(0, until - monotonic_ns());
  const timespec limit{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
  ::ppoll(polled.data(), polled.size(), &limit, nullptr);
}

void Launcher::feed(member::Event event) {
  pending_.push_back(std::move(event));
  // Acting may find more to feed; one at a time, in order.
  if (pending_.size() > 1) return;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    member::Decision decision =
        member::decide(std::move(state_), std::move(pending_[i]), monotonic_ns());
    state_ = std::move(decision.state);
    for (const member::Action& action : decision.actions) act(action);
  }
  pending_.clear();
}

void Launcher::act(const member::Action& action) {
  if (const auto* it = std::get_if<member::SendWelcome>(&action)) {
    welcome(it->agent, it->joining);
  } else if (const auto* view = std::get_if<member::Publish>(&action)) {
    publish(*view);
  } else if (const auto* plan = std::get_if<member::SendPropose>(&action)) {
    told(plan->agent, crew_->send(static_cast<std::uint32_t>(plan->agent), plan->propose));
  } else if (const auto* started = std::get_if<member::Start>(&action)) {
    start(*started);
  } else if (const auto* book = std::get_if<member::TakeBook>(&action)) {
    take_book(book->checkpoint);
  } else if (const auto* news = std::get_if<member::Tell>(&action)) {
    narrator_.tell(*news);
  } else if (const auto* stop = std::get_if<member::SendStop>(&action)) {
    const auto agent = static_cast<std::uint32_t>(stop->agent);
    told(stop->agent, crew_->send(agent, wire::StopRequest{stop->reason}));
  } else if (const auto* kill = std::get_if<member::Signal>(&action)) {
    crew_->signal(static_cast<std::uint32_t>(kill->agent), kill->signal);
  } else if (const auto* shown = std::get_if<member::Show>(&action)) {
    narrator_.progress(shown->agent, shown->progress);
  }
}

void Launcher::welcome(member::AgentId agent, bool joining) {
  static constexpr const char* kModes[] = {"train", "evaluate", "predict", "export"};
  wire::Welcome message;
  message.joining = joining;
  message.mode = kModes[static_cast<int>(plan_.mode)];
  message.job_json = job_json_;
  message.job_toml = plan_.job_toml;
  message.job_name = plan_.job_name;
  message.job_folder = plan_.job_folder;
  message.sets = plan_.sets;
  message.run_dir = plan_.run_dir.string();
  message.checkpoint = checkpoint_;
  message.predict_input = plan_.predict_input;
  told(agent, crew_->welcome(static_cast<std::uint32_t>(agent), std::move(message), dataset_));
}

void Launcher::start(const member::Start& action) {
  const auto agent = static_cast<std::uint32_t>(action.agent);
  const Status started = crew_->start_agent(agent, action.beside);
  if (started.ok()) return;
  const Error& error = started.error();
  feed(member::Heard{action.agent, wire::Failed{static_cast<int>(error.kind), error.message}});
  feed(member::Exited{action.agent, 1, 0});
}

void Launcher::take_book(bool checkpoint) {
  if (checkpoint) {
    crew_->forget_books();
    const auto found = store::newest_checkpoint(plan_.run_dir);
    checkpoint_ = found.ok() ? found->folder.string() : plan_.checkpoint;
    return feed(member::BookTaken{});
  }
  const auto round = crew_->take_book();
  if (!round.ok()) return feed(member::LauncherFailed{round.error()});
  feed(member::BookTaken{*round});
}

void Launcher::publish(const member::Publish& action) {
  const wire::Ready& ready = state_.first_ready->second;
  if (!plan_.job && job_json_.empty()) {
    job_json_ = ready.job_json;
    if (const auto job = job::from_json(ready.job_json); job.ok()) job_is_known(*job);
  }
  const wire::ViewMessage message = member::to_message(action.view);
  const Fd* book = action.with_book ? &crew_->book() : nullptr;
  for (const member::AgentId agent : action.to) {
    told(agent, crew_->send(static_cast<std::uint32_t>(agent), message, book));
  }
  narrator_.view_is_out(action.view, ready.shards);
}

void Launcher::job_is_known(const job::Job& job) {
  if (plan_.mode == Mode::kTrain && job.stop.wall_seconds > 0) {
    wall_at_ = plan_.start_ns + static_cast<std::int64_t>(job.stop.wall_seconds * 1e9);
  }
  // A program's own job is known when its agents are ready.
  const double patience = plan_.job ? plan_.patience_seconds : job.faults.patience;
  state_.rules.patience_ceiling = static_cast<std::int64_t>(patience * 1e9);
  state_.rules.restore = job.faults.on_corruption == job::OnCorruption::kRestore;
  narrator_.job_is_known(job);
}

void Launcher::take_dataset() {
  if (!loading_) return;
  std::optional<Result<Fd>> image = loading_->take();
  if (!image) return;
  loading_.reset();
  if (!image->ok()) return feed(member::LauncherFailed{image->error()});
  dataset_ = image->take();
  feed(member::Prepared{});
}

void Launcher::take_signals() {
  while (const std::optional<int> signal = signals_.next()) {
    const bool interrupted = *signal == SIGINT;
    stop(interrupted ? "interrupt" : "stop", true, interrupted);
  }
}

void Launcher::stop(const std::string& reason, bool by_signal, bool interrupted) {
  const bool first = state_.phase == Phase::kRunning;
  feed(member::StopAsked{reason, by_signal, interrupted});
  if (first) narrator_.stopping(reason);
}

void Launcher::judge_time() {
  const std::int64_t now = monotonic_ns();
  if (wall_at_ && state_.view && now >= *wall_at_) {
    wall_at_.reset();
    stop("wall time", false, false);
  }
  if (const auto look = member::next_observation(state_); look && now >= *look) {
    feed(member::Observed{crew_->observe()});
  }
  if (const auto deadline = member::next_deadline(state_); deadline && now >= *deadline) {
    feed(member::TimePassed{});
  }
}

// Those of members first, which have gone to the end, then of those that left before.
std::vector<std::string> Launcher::agent_reports() const {
  std::vector<std::string> members, others;
  const auto is_member = [this](std::size_t agent) {
    return state_.view && std::count(state_.view->members.begin(), state_.view->members.end(),
                                     static_cast<member::AgentId>(agent)) > 0;
  };
  for (std::size_t agent = 0; agent < state_.agents.size(); ++agent) {
    const auto& report = state_.agents[agent].report;
    if (report) (is_member(agent) ? members : others).push_back(*report);
  }
  members.insert(members.end(), others.begin(), others.end());
  for (const auto& [agent, report] : state_.reports) members.push_back(report);
  return members;
}

LaunchResult Launcher::result() {
  LaunchResult out;
  out.outcome = state_.outcome;
  out.began = round() > 0;
  out.exit_code = member::exit_code(state_.outcome);
  out.message = member::describe(state_.outcome);
  out.job_json = job_json_;
  const Reason reason = state_.outcome.reason;
  const bool mute = reason == Reason::kExited || reason == Reason::kKilled ||
                    reason == Reason::kLinkEnded || reason == Reason::kProtocol ||
                    reason == Reason::kCrashLoop ||
                    (reason == Reason::kAgentFailed && out.exit_code == 1);
  if (reason == Reason::kExited && !state_.outcome.joined && plan_.own_program) {
    out.message += " (does the program construct instep::Run?)";
  }
  if (mute && state_.outcome.agent >= 0) {
    out.message += cat("; ", crew_->log_end(static_cast<std::uint32_t>(state_.outcome.agent)));
  }
  if (reason != Reason::kFinished && reason != Reason::kStopped) return out;
  ReportParts parts;
  parts.job_json = job_json_;
  parts.agents = plan_.agents;
  parts.agent_reports = agent_reports();
  parts.fingerprint = state_.first_hello->second.fingerprint;
  if (state_.first_ready) {
    parts.job_hash = state_.first_ready->second.job_hash;
    parts.shards = state_.first_ready->second.shards;
  }
  parts.events = narrator_.events();
  parts.start_ns = plan_.start_ns;
  parts.end_ns = monotonic_ns();
  if (plan_.records) parts.run_dir = plan_.run_dir.string();
  parts.checkpoint = checkpoint_;
  parts.stopped = state_.outcome.stop_reason;
  out.report = merge_report(parts).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return out;
}

}  // namespace

LaunchResult launch(const LaunchPlan& plan) { return Launcher(plan).run(); }

}  // namespace instep::coord
