#include "coord/launcher.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>

#include "base/log.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "coord/launcher_impl.h"
#include "coord/remote.h"
#include "store/checkpoint.h"

namespace instep::coord {
namespace {

using member::Phase;
using member::Reason;

constexpr const char* kJournal = "coordinator.journal";
// For agents that have lost their coordinator to save and end.
constexpr std::int64_t kAlone = 30 * kSecond;

// Of the host's memory: room for newcomers while the slots of the dead are still read.
std::uint32_t slots_of(const LaunchPlan& plan) {
  constexpr std::uint32_t kUsual = 16;
  if (plan.mode != Mode::kTrain) return plan.agents;
  const std::uint32_t agents = std::max(plan.agents, plan.max_agents);
  return std::min(fabric::kMaxSlots, std::max(kUsual, 2 * agents));
}

member::Rules rules_of(const LaunchPlan& plan) {
  member::Rules rules;
  rules.agents = plan.agents;
  rules.min_agents = std::min(plan.min_agents, plan.agents);
  rules.slots = slots_of(plan);
  rules.elastic = plan.mode == Mode::kTrain;
  rules.replace = plan.replace;
  rules.patience_ceiling = static_cast<std::int64_t>(plan.patience_seconds * 1e9);
  rules.needs_view = !reads_alone(plan.mode);
  rules.hosted = plan.hosted;
  rules.late = plan.bridge != nullptr && plan.bridge->late();
  if (plan.own_program) rules.linger.reset();
  return rules;
}

}  // namespace

Status Launcher::begin() {
  INSTEP_RETURN_IF_ERROR(narrator_.begin());
  CoordinatorLink::Plan desk;
  desk.program = "/proc/self/exe";
  if (plan_.mode == Mode::kTrain && plan_.records) desk.journal = plan_.run_dir / kJournal;
  desk.log = plan_.run_dir / "logs" / "coordinator.log";
  desk.rules = rules_of(plan_);
  INSTEP_ASSIGN_OR_RETURN(CoordinatorLink link, CoordinatorLink::start(std::move(desk)));
  desk_.emplace(std::move(link));
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
  INSTEP_ASSIGN_OR_RETURN(Crew crew, Crew::start(plan_, slots_of(plan_)));
  crew_.emplace(std::move(crew));
  if (plan_.bridge != nullptr) INSTEP_RETURN_IF_ERROR(plan_.bridge->use(crew_->files()));
  if (!first_host()) return {};  // the data comes from there
  if (plan_.job && plan_.job->data.format != job::DataFormat::kNone && !reads_alone(plan_.mode)) {
    INSTEP_ASSIGN_OR_RETURN(loading_, Loading::begin(*plan_.job));
  } else {
    tell(member::Prepared{});
  }
  return {};
}

LaunchResult Launcher::run() {
  if (const Status status = begin(); !status.ok()) {
    LaunchResult out;
    out.outcome = member::failure(Reason::kLauncher, status.error());
    out.message = out.outcome.message;
    out.exit_code = member::exit_code(out.outcome);
    return out;
  }
  loop();
  if (plan_.bridge != nullptr) wait_for_others();
  return result();
}

void Launcher::loop() {
  while (!outcome_) {
    wait(next_wakeup());
    // What has arrived comes before what is late; and that all hosts stop before what agents say
    // who have stopped: the run is not finished by that.
    take_bridge();
    take_events();
    take_replies();
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
  if (std::any_of(events.begin(), events.end(), member::judged_by_words)) {
    tell(member::Observed{crew_->observe()});
  }
  for (member::Event& event : events) {
    if (auto* heard = std::get_if<member::Heard>(&event)) {
      hear(std::move(*heard));
    } else {
      tell(std::move(event));
    }
  }
}

// On its way to the coordinator: what that need not know stays here.
void Launcher::hear(member::Heard heard) {
  if (const auto* progress = std::get_if<wire::Progress>(&heard.message)) {
    return narrator_.progress(heard.agent, *progress);
  }
  findings_.keep(heard.message);
  tell(std::move(heard));
}

void Launcher::take_replies() {
  for (const member::Reply& reply : desk_->take()) {
    for (const member::Action& action : reply.actions) act(action);
    if (!reply.warning.empty()) narrator_.tell({"coordinator", -1, 0, "", 0, reply.warning});
    if (!reply.standing.outcome) continue;
    outcome_ = reply.standing.outcome;
    report_places_ = reply.standing.reports;
  }
  for (const std::string& text : desk_->news()) {
    narrator_.tell({"coordinator", -1, standing().completed, "", 0, text});
  }
  if (desk_->lost() && !outcome_) give_up();
}

// Without a coordinator agents finish the round, save and end (design, rule 13); they see that by
// their links.
void Launcher::give_up() {
  crew_->hang_up();
  const std::int64_t until = monotonic_ns() + kAlone;
  while (crew_->any()) {
    wait(std::min(until, monotonic_ns() + kSecond));
    crew_->drain(
        [this](std::uint32_t agent, std::string_view line) { narrator_.output(agent, line); });
    if (monotonic_ns() < until) continue;
    for (std::uint32_t agent = 0; agent < crew_->size(); ++agent) crew_->signal(agent, SIGKILL);
  }
  outcome_ = member::failure(Reason::kLauncher, *desk_->lost());
}

void Launcher::drill() {
  if (!plan_.drill || drilled_out_ || standing().phase != Phase::kRunning) return;
  drill_at_ = plan_.drill(*this, monotonic_ns());
  drilled_out_ = !drill_at_;
}

std::uint64_t Launcher::round() const {
  return standing().viewed ? std::max(crew_->newest_round(), standing().completed) : 0;
}

std::vector<member::AgentId> Launcher::agents() const {
  std::vector<member::AgentId> out;
  for (const member::AgentId agent : standing().members) {
    if (crew_->lives(static_cast<std::uint32_t>(agent))) out.push_back(agent);
  }
  return out;
}

bool Launcher::signal(member::AgentId agent, int signal) {
  if (agent == kTheCoordinator) return desk_->signal(signal);
  return agent >= 0 && crew_->signal(static_cast<std::uint32_t>(agent), signal);
}

Status Launcher::scale(std::uint32_t agents) {
  const std::uint32_t most = crew_->size();
  if (agents < 1 || agents > most) {
    return invalid(cat(agents, agents == 1 ? " agent is" : " agents are",
                       " not possible here; 1 to ", most, " are"));
  }
  wanted_ = agents;
  scaled_ = desk_->tell(member::ScaleAsked{agents});
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
  for (const auto& at : {desk_->state().due_at(), desk_->state().observe_at(), desk_->wake_at()}) {
    if (at) until = std::min(until, *at);
  }
  if (drill_at_ && standing().phase == Phase::kRunning) until = std::min(until, *drill_at_);
  if (const auto at = plan_.remote != nullptr ? plan_.remote->due() : std::nullopt; at) {
    until = std::min(until, *at);
  }
  if (wall_at_ && standing().viewed) until = std::min(until, *wall_at_);
  return until;
}

void Launcher::wait(std::int64_t until) {
  std::vector<int> descriptors = {signals_.descriptor()};
  if (loading_) descriptors.push_back(loading_->descriptor());
  if (plan_.bridge != nullptr) descriptors.push_back(plan_.bridge->descriptor());
  if (plan_.remote != nullptr) plan_.remote->collect(descriptors);
  if (scale_server_) descriptors.push_back(scale_server_->descriptor());
  desk_->collect(descriptors);
  crew_->collect(descriptors);
  std::vector<pollfd> polled;
  for (const int fd : descriptors) polled.push_back({fd, POLLIN, 0});
  const std::int64_t left = std::max<std::int64_t>(0, until - monotonic_ns());
  const timespec limit{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
  ::ppoll(polled.data(), polled.size(), &limit, nullptr);
}

void Launcher::tell(member::Event event) { desk_->tell(std::move(event)); }

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
  } else if (std::holds_alternative<member::HostReady>(action)) {
    plan_.bridge->ready(*findings_.ready(), findings_.fingerprint());
  } else if (const auto* stop = std::get_if<member::SendStop>(&action)) {
    const auto agent = static_cast<std::uint32_t>(stop->agent);
    told(stop->agent, crew_->send(agent, wire::StopRequest{stop->reason}));
  } else if (const auto* kill = std::get_if<member::Signal>(&action)) {
    crew_->signal(static_cast<std::uint32_t>(kill->agent), kill->signal);
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
  message.files = plan_.files;
  told(agent, crew_->welcome(static_cast<std::uint32_t>(agent), std::move(message), dataset_));
}

void Launcher::start(const member::Start& action) {
  const auto agent = static_cast<std::uint32_t>(action.agent);
  if (plan_.bridge != nullptr) plan_.bridge->fence();
  const Status started = crew_->start_agent(agent, action.beside);
  if (started.ok()) return;
  tell(member::Heard{action.agent, wire::failed_of(started.error())});
  tell(member::Exited{action.agent, 1, 0});
}

void Launcher::take_book(bool checkpoint) {
  if (checkpoint) {
    crew_->forget_books();
    const auto found = store::newest_checkpoint(plan_.run_dir);
    checkpoint_ = found.ok() ? found->folder.string() : plan_.checkpoint;
    return tell(member::BookTaken{});
  }
  const auto round = crew_->take_book();
  if (!round.ok()) return tell(member::LauncherFailed{round.error()});
  tell(member::BookTaken{*round});
}

void Launcher::publish(const member::Publish& action) {
  if (!plan_.job && job_json_.empty()) {
    job_json_ = findings_.ready()->job_json;
    if (const auto job = job::from_json(job_json_); job.ok()) job_is_known(*job);
  }
  if (plan_.bridge != nullptr) plan_.bridge->view(action.view);
  const wire::ViewMessage message = member::to_message(action.view);
  const Fd* book = action.with_book ? &crew_->book() : nullptr;
  for (const member::AgentId agent : action.to) {
    told(agent, crew_->send(static_cast<std::uint32_t>(agent), message, book));
  }
  narrator_.view_is_out(action.view, findings_.ready()->shards);
}

void Launcher::job_is_known(const job::Job& job) {
  // Where hosts train together the first one's stops count.
  if (plan_.mode == Mode::kTrain && job.stop.wall_seconds > 0 && first_host()) {
    wall_at_ = plan_.start_ns + static_cast<std::int64_t>(job.stop.wall_seconds * 1e9);
  }
  // A program's own job is known when its agents are ready.
  const double patience = plan_.job ? plan_.patience_seconds : job.faults.patience;
  tell(member::JobKnown{static_cast<std::int64_t>(patience * 1e9),
                        !plan_.hosted && job.faults.on_corruption == job::OnCorruption::kRestore});
  narrator_.job_is_known(job);
}

void Launcher::take_dataset() {
  if (!loading_) return;
  std::optional<Result<Fd>> image = loading_->take();
  if (!image) return;
  loading_.reset();
  if (!image->ok()) return tell(member::LauncherFailed{image->error()});
  dataset_ = image->take();
  if (plan_.on_dataset) {
    if (const Status status = plan_.on_dataset(dataset_); !status.ok()) {
      return tell(member::LauncherFailed{status.error()});
    }
  }
  tell(member::Prepared{});
}

void Launcher::take_signals() {
  while (const std::optional<int> signal = signals_.next()) {
    const bool interrupted = *signal == SIGINT;
    if (plan_.stops_together && !first_host() && orphaned_.empty()) {
      plan_.bridge->stop();
      continue;
    }
    if (leave_host()) continue;
    stop(interrupted ? "interrupt" : "stop", true, interrupted);
  }
}

void Launcher::stop(const std::string& reason, bool by_signal, bool interrupted) {
  tell(member::StopAsked{reason, by_signal, interrupted});
  const bool first = standing().phase == Phase::kRunning && !std::exchange(stopping_, true);
  if (first) narrator_.stopping(reason);
  if (plan_.bridge != nullptr && first_host()) plan_.bridge->stop();
}

void Launcher::judge_time() {
  const std::int64_t now = monotonic_ns();
  if (wall_at_ && standing().viewed && now >= *wall_at_) {
    wall_at_.reset();
    stop("wall time", false, false);
  }
  // A deadline first: one question at a time is asked, and it comes seldom.
  if (const auto at = desk_->state().due_at(); at && now >= *at) desk_->ask(member::TimePassed{});
  if (const auto at = desk_->state().observe_at(); at && now >= *at) {
    desk_->ask(member::Observed{crew_->observe()});
  }
}

LaunchResult Launcher::result() {
  const member::AgentId named = outcome_->agent;
  LaunchResult out =
      findings_.result(plan_, {*outcome_, report_places_, job_json_, checkpoint_,
                               named < 0 ? "" : crew_->log_end(static_cast<std::uint32_t>(named)),
                               narrator_.events(), trained_by_});
  out.began = round() > 0;
  end_on_this_host(out);
  return out;
}

LaunchResult launch(const LaunchPlan& plan) { return Launcher(plan).run(); }

}  // namespace instep::coord
