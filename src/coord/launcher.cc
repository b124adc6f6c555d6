#include "coord/launcher.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "coord/crew.h"
#include "coord/narrator.h"
#include "coord/report.h"
#include "coord/sources.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;
using member::Phase;
using member::Reason;

constexpr std::int64_t kSecond = 1'000'000'000;

class Launcher {
 public:
  explicit Launcher(const LaunchPlan& plan) : plan_(plan), narrator_(plan) {}
  LaunchResult run();

 private:
  Status begin();
  void loop();
  void wait(std::int64_t until);
  std::int64_t next_wakeup() const;
  void feed(member::Event event);
  void act(const member::Action& action);
  void welcome(member::AgentId agent);
  void publish(const member::View& view);
  void take_dataset();
  void take_signals();
  void judge_time();
  void stop(const std::string& reason, bool by_signal, bool interrupted);
  void job_is_known(const job::Job& job);
  // An agent that cannot be told is gone, or as good as gone.
  void told(member::AgentId agent, const Status& status) {
    if (!status.ok()) feed(member::LinkEnded{agent, ""});
  }
  LaunchResult result();

  const LaunchPlan& plan_;
  Narrator narrator_;
  StopSignals signals_;
  std::optional<Crew> crew_;
  std::shared_ptr<Loading> loading_;
  Fd dataset_;
  member::RunState state_;
  std::vector<member::Event> pending_;  // found while acting
  std::string job_json_;
  std::optional<std::int64_t> wall_at_;
};

Status Launcher::begin() {
  member::Rules rules;
  rules.agents = plan_.agents;
  rules.needs_view = !reads_alone(plan_.mode);
  if (plan_.own_program) rules.linger.reset();
  state_ = member::begin(rules);
  INSTEP_RETURN_IF_ERROR(narrator_.begin());
  if (plan_.job) {
    job_json_ = job::to_json(*plan_.job);
    job_is_known(*plan_.job);
  }
  INSTEP_ASSIGN_OR_RETURN(Crew crew, Crew::start(plan_));
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
    auto events = crew_->drain(
        [this](std::uint32_t agent, std::string_view line) { narrator_.output(agent, line); });
    for (member::Event& event : events) feed(std::move(event));
    take_dataset();
    take_signals();
    judge_time();
    narrator_.look(now_ns(), [this] { return crew_->snapshots(); });
    narrator_.flush();
  }
  narrator_.end();
}

std::int64_t Launcher::next_wakeup() const {
  std::int64_t until = std::min(now_ns() + 3600 * kSecond, narrator_.next_look());
  if (const auto deadline = member::next_deadline(state_)) until = std::min(until, *deadline);
  if (wall_at_ && state_.view) until = std::min(until, *wall_at_);
  return until;
}

void Launcher::wait(std::int64_t until) {
  std::vector<int> descriptors = {signals_.descriptor()};
  if (loading_) descriptors.push_back(loading_->descriptor());
  crew_->collect(descriptors);
  std::vector<pollfd> polled;
  for (const int fd : descriptors) polled.push_back({fd, POLLIN, 0});
  const std::int64_t left = std::max<std::int64_t>(0, until - now_ns());
  const timespec limit{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
  ::ppoll(polled.data(), polled.size(), &limit, nullptr);
}

void Launcher::feed(member::Event event) {
  pending_.push_back(std::move(event));
  // Acting may find more to feed; one at a time, in order.
  if (pending_.size() > 1) return;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    member::Decision decision = member::decide(std::move(state_), std::move(pending_[i]), now_ns());
    state_ = std::move(decision.state);
    for (const member::Action& action : decision.actions) act(action);
  }
  pending_.clear();
}

void Launcher::act(const member::Action& action) {
  if (const auto* it = std::get_if<member::SendWelcome>(&action)) {
    welcome(it->agent);
  } else if (const auto* view = std::get_if<member::Publish>(&action)) {
    publish(view->view);
  } else if (const auto* stop = std::get_if<member::SendStop>(&action)) {
    const auto agent = static_cast<std::uint32_t>(stop->agent);
    told(stop->agent, crew_->send(agent, wire::StopRequest{stop->reason}));
  } else if (const auto* kill = std::get_if<member::Signal>(&action)) {
    crew_->signal(static_cast<std::uint32_t>(kill->agent), kill->signal);
  } else if (const auto* shown = std::get_if<member::Show>(&action)) {
    narrator_.progress(shown->agent, shown->progress);
  }
}

void Launcher::welcome(member::AgentId agent) {
  static constexpr const char* kModes[] = {"train", "evaluate", "predict", "export"};
  wire::Welcome message;
  message.mode = kModes[static_cast<int>(plan_.mode)];
  message.job_json = job_json_;
  message.job_toml = plan_.job_toml;
  message.job_name = plan_.job_name;
  message.job_folder = plan_.job_folder;
  message.sets = plan_.sets;
  message.run_dir = plan_.run_dir.string();
  message.checkpoint = plan_.checkpoint;
  message.predict_input = plan_.predict_input;
  told(agent, crew_->welcome(static_cast<std::uint32_t>(agent), std::move(message), dataset_));
}

void Launcher::publish(const member::View& view) {
  const wire::Ready& ready = *state_.agents.front().ready;
  if (!plan_.job) {
    job_json_ = ready.job_json;
    if (const auto job = job::from_json(ready.job_json); job.ok()) job_is_known(*job);
  }
  const wire::ViewMessage message = member::to_message(view);
  for (std::uint32_t agent = 0; agent < crew_->size(); ++agent) {
    told(static_cast<member::AgentId>(agent), crew_->send(agent, message));
  }
  narrator_.view_is_out(view, ready.shards);
}

void Launcher::job_is_known(const job::Job& job) {
  if (plan_.mode == Mode::kTrain && job.stop.wall_seconds > 0) {
    wall_at_ = plan_.start_ns + static_cast<std::int64_t>(job.stop.wall_seconds * 1e9);
  }
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
  const std::int64_t now = now_ns();
  if (wall_at_ && state_.view && now >= *wall_at_) {
    wall_at_.reset();
    stop("wall time", false, false);
  }
  if (const auto deadline = member::next_deadline(state_); deadline && now >= *deadline) {
    feed(member::TimePassed{});
  }
}

LaunchResult Launcher::result() {
  LaunchResult out;
  out.outcome = state_.outcome;
  if (state_.view) {
    const auto snapshots = crew_->snapshots();
    out.began = std::any_of(snapshots.begin(), snapshots.end(),
                            [](const AgentSnapshot& agent) { return agent.round > 0; });
  }
  out.exit_code = member::exit_code(state_.outcome);
  out.message = member::describe(state_.outcome);
  out.job_json = job_json_;
  const Reason reason = state_.outcome.reason;
  const bool mute = reason == Reason::kExited || reason == Reason::kKilled ||
                    reason == Reason::kLinkEnded || reason == Reason::kProtocol ||
                    (reason == Reason::kAgentFailed && out.exit_code == 1);
  if (reason == Reason::kExited && !state_.outcome.joined && plan_.own_program) {
    out.message += " (does the program construct instep::Run?)";
  }
  if (mute) {
    out.message += cat("; ", crew_->log_end(static_cast<std::uint32_t>(state_.outcome.agent)));
  }
  if (reason != Reason::kFinished && reason != Reason::kStopped) return out;
  ReportParts parts;
  parts.job_json = job_json_;
  parts.agents = plan_.agents;
  for (const member::AgentLife& life : state_.agents) parts.agent_reports.push_back(*life.report);
  const member::AgentLife& first = state_.agents.front();
  parts.fingerprint = first.hello->fingerprint;
  if (first.ready) {
    parts.job_hash = first.ready->job_hash;
    parts.shards = first.ready->shards;
  }
  parts.events = narrator_.events();
  parts.start_ns = plan_.start_ns;
  parts.end_ns = now_ns();
  if (plan_.records) parts.run_dir = plan_.run_dir.string();
  parts.checkpoint = plan_.checkpoint;
  parts.stopped = state_.outcome.stop_reason;
  out.report = merge_report(parts).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return out;
}

}  // namespace

LaunchResult launch(const LaunchPlan& plan) { return Launcher(plan).run(); }

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * kSecond + now.tv_nsec;
}

}  // namespace instep::coord
