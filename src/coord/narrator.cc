#include "coord/narrator.h"

#include <algorithm>
#include <limits>

#include "base/machine.h"
#include "base/text.h"
#include "base/time.h"
#include "base/version.h"
#include "coord/report.h"
#include "coord/run_dir.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kRedraw = kSecond / 5;
constexpr std::int64_t kPlainLine = 10 * kSecond;

// A count in an agent's message, which may be anything.
std::uint64_t whole_field(const Json& fields, const char* key) {
  const auto found = fields.find(key);
  return found != fields.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

// A link that had little to send is none of the slowest.
double speed(const LinkSeen& link) {
  return link.rate.value_or(std::numeric_limits<double>::infinity());
}

// A record of a run of very many hosts stays a line.
std::vector<LinkSeen> slowest_links(std::vector<LinkSeen> links) {
  constexpr std::size_t kMost = 16;
  if (links.size() <= kMost) return links;
  std::sort(links.begin(), links.end(),
            [](const LinkSeen& a, const LinkSeen& b) { return speed(a) < speed(b); });
  links.resize(kMost);
  return links;
}

}  // namespace

Narrator::Narrator(const LaunchPlan& plan)
    : plan_(plan),
      // A program's own output has stdout for itself.
      display_(plan.own_program ? stderr : stdout, plan.quiet || plan.mode != Mode::kTrain) {}

Status Narrator::begin() {
  if (!plan_.records) return {};
  INSTEP_ASSIGN_OR_RETURN(metrics_, Records::open(plan_.run_dir / "metrics.jsonl"));
  INSTEP_ASSIGN_OR_RETURN(events_file_, Records::open(plan_.run_dir / "events.jsonl"));
  // Where the records of a resumed run begin: at_s and the round may both go back there.
  for (Records* records : {&metrics_, &events_file_}) {
    record(*records, {{"agents", plan_.agents}, {"started", timestamp()}}, "begin");
  }
  return {};
}

void Narrator::job_is_known(const job::Job& job) {
  epochs_ = job.epochs;
  picture_.name = job.name;
  picture_.epochs = static_cast<double>(job.epochs);
  pace_.plan(picture_.epochs, job.evaluate_each_epoch && !plan_.own_program);
  if (job.stop.wall_seconds > 0) {
    wall_at_ = plan_.start_ns + static_cast<std::int64_t>(job.stop.wall_seconds * 1e9);
  }
  if (plan_.mode != Mode::kTrain) return;
  const auto count = [](auto number, const char* one, const char* many) {
    return cat(number, " ", number == 1 ? one : many);
  };
  display_.line(cat("instep ", kVersion, ": ", job.name, " on ",
                    count(plan_.agents, "agent", "agents"), ", ",
                    count(job.shards, "shard", "shards"), ", batch ", job.batch, ", ",
                    count(job.epochs, "epoch", "epochs"), ", ", job::to_text(job.policy.kind), ", ",
                    count(job.threads, "thread", "threads"), " an agent"));
  display_.line(cat("run directory ", plan_.run_dir.string()));
  const std::int64_t samples = job.shards > 0 ? job.batch / job.shards : 0;
  if (samples < job::kSmallShard) {
    note(LogLevel::kWarning, cat("a shard computes ", samples, " samples a round (batch ",
                                 job.batch, " over ", job.shards,
                                 " shards): shards so small can cost more than 10%; a larger batch "
                                 "or fewer shards make it faster"));
  }
}

void Narrator::view_is_out(const member::View& view, std::uint32_t shards) {
  const bool first = !running_;
  running_ = true;
  if (first) looked_at_ = monotonic_ns();
  record(events_file_,
         {{"epoch", cat(view.epoch.generation, ".", view.epoch.number)},
          {"first_round", member::rounds_before(view.first_op)},
          {"members", view.members},
          {"spares", view.spares}},
         "view");
  if (view.spares.empty() || plan_.mode != Mode::kTrain || !first) return;
  const std::string text = view.spares.size() == 1
                               ? cat("agent ", view.spares.front(), " has no shard and stands by")
                               : cat("agents ", view.spares.front(), "-", view.spares.back(),
                                     " have no shard and stand by");
  note(LogLevel::kWarning, cat(text, " (shards = ", shards, ")"));
}

void Narrator::progress(member::AgentId agent, const wire::Progress& progress) {
  Json fields = parse_fields(progress.fields);
  if (progress.kind == "rounds") {
    pace_.rounds_done(whole_field(fields, "round"), monotonic_ns());
    record(metrics_, std::move(fields), "rounds");
  } else if (progress.kind == "epoch") {
    for (const char* set : {"validation", "test"}) {
      const std::string words = metric_words(fields.value(set, Json()));
      if (words.empty()) continue;
      picture_.metric = cat(set, " ", words);
      break;
    }
    pace_.epoch_ended(real_field(fields, "data_epoch"), real_field(fields, "pause_seconds"));
    pace_.rounds_done(whole_field(fields, "round"), monotonic_ns());
    // As the agents' memory says too, which nobody looks at in a pipe while epochs are short.
    if (const double epoch = real_field(fields, "data_epoch"); epoch > 0 && epochs_ > 0) {
      pace_.rounds_planned(real_field(fields, "round") / epoch * static_cast<double>(epochs_));
    }
    const std::string left = time_left(monotonic_ns());
    const std::string words = cat(epoch_words(fields, epochs_), left.empty() ? "" : "  ETA ", left);
    display_.line(words);
    log(LogLevel::kInfo, words);
    if (!display_.live()) looked_at_ = monotonic_ns();
    record(metrics_, std::move(fields), "epoch");
  } else if (progress.kind == "checkpoint") {
    log(LogLevel::kInfo, checkpoint_words(fields));
    record(events_file_, std::move(fields), "checkpoint");
  } else if (progress.kind == "event") {
    note(LogLevel::kInfo, event_words(fields));
    events_.push_back(fields);
    record(events_file_, std::move(fields), "event");
  } else if (progress.kind == "note") {
    const Json text = fields.value("text", Json());
    if (!text.is_string()) return;
    const bool warns = fields.value("level", Json()) == "warning";
    note(warns ? LogLevel::kWarning : LogLevel::kInfo, text.get<std::string>());
  } else {
    log(LogLevel::kDebug, cat("agent ", agent, ": ", progress.kind, " ", to_line(fields)));
  }
}

void Narrator::stopping(const std::string& reason) {
  record(events_file_, {{"reason", reason}}, "stop");
  picture_.notice = "saving a checkpoint; press Ctrl-C again to end at once";
  note(LogLevel::kInfo, cat(reason, ": ", picture_.notice));
}

void Narrator::tell(const member::Tell& news) {
  Json fields = {{"kind", news.kind},
                 {"round", news.round},
                 {"reason", news.reason},
                 {"stall_ms", news.stall_ms},
                 {"text", news.text}};
  if (news.agent >= 0) fields["agent"] = news.agent;
  note(LogLevel::kInfo, news.text);
  events_.push_back(fields);
  record(events_file_, std::move(fields), "event");
}

void Narrator::wait(const member::Tell& news, const std::string& advice) {
  tell(news);
  if (!advice.empty()) display_.line(advice);
  picture_.notice = waits_ = news.text;
}

bool Narrator::go_on() {
  const std::string waited = std::exchange(waits_, "");
  if (waited.empty()) return false;
  if (picture_.notice == waited) picture_.notice.clear();
  looked_at_ = monotonic_ns();
  return true;
}

void Narrator::lines(const LinesSeen& seen) {
  Json links = Json::array();
  for (const LinkSeen& link : slowest_links(seen.report.links)) {
    const auto name = seen.names.find(link.host);
    links.push_back({{"host", link.host},
                     {"name", name == seen.names.end() ? "" : name->second},
                     {"rtt_ms", link.round_trip_s * 1e3},
                     {"mb_per_s", link.rate ? Json(*link.rate * 1e-6) : Json()}});
  }
  const member::LineSeen& line = seen.report.line;
  record(metrics_,
         {{"round", seen.round},
          {"share", seen.share},
          {"round_ms", line.round_s * 1e3},
          {"mb_per_s", line.rate * 1e-6},
          {"full", line.full},
          {"sent", seen.sent},
          {"links", std::move(links)}},
         "lines");
}

void Narrator::output(std::uint32_t agent, std::string_view line) {
  display_.clear();
  const std::string text = plan_.agents > 1 ? cat("[", agent, "] ", line, "\n") : cat(line, "\n");
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::int64_t Narrator::next_look() const {
  if (display_.live()) return looked_at_ + kRedraw;
  return running_ && waits_.empty() && plan_.mode == Mode::kTrain && !plan_.quiet
             ? looked_at_ + kPlainLine
             : std::numeric_limits<std::int64_t>::max();
}

void Narrator::draw(std::int64_t now, std::vector<AgentSnapshot> agents) {
  looked_at_ = now;
  picture_.agents = std::move(agents);
  std::uint64_t samples = 0;
  std::uint64_t round = 0;
  std::uint64_t rounds = 0;
  bool evaluating = false;
  shares_.resize(picture_.agents.size());
  samples_.resize(picture_.agents.size());
  for (std::size_t i = 0; i < picture_.agents.size(); ++i) {
    AgentSnapshot& agent = picture_.agents[i];
    if (agent.samples < samples_[i]) {  // somebody else's slot now
      past_samples_ += samples_[i];
      shares_[i] = {};
    }
    samples_[i] = agent.samples;
    samples += agent.samples;
    round = std::max(round, agent.round);
    rounds = std::max(rounds, agent.rounds);
    evaluating = evaluating || agent.state == fabric::AgentState::kEvaluating;
    agent.computing = shares_[i].update(agent.round, agent.waited_s, now);
  }
  pace_.look(round, rounds, samples + past_samples_, evaluating, now);
  std::erase_if(picture_.agents, [](const AgentSnapshot& agent) {
    return agent.gone && agent.state != fabric::AgentState::kDone;
  });
  picture_.samples_per_s = waits_.empty() ? pace_.samples_per_s() : 0;
  picture_.left = waits_.empty() ? time_left(now) : "";
  if (display_.live()) {
    display_.draw(picture_);
  } else {
    display_.line(plain(picture_));
  }
}

std::string Narrator::time_left(std::int64_t now) const {
  std::optional<double> left = pace_.seconds_left(now);
  if (!left) return "";
  const bool more = pace_.without_evaluations();
  if (wall_at_ > 0) {
    const double wall = std::max(0.0, static_cast<double>(wall_at_ - now) * 1e-9);
    if (wall < *left) return about(wall);
  }
  return cat(about(*left), more ? " and evaluations" : "");
}

void Narrator::note(LogLevel level, const std::string& text) {
  display_.clear();  // a warning goes to stderr, which may be the same terminal
  if (level != LogLevel::kWarning) display_.line(text);
  log(level, text);
}

void Narrator::record(Records& records, Json fields, const char* kind) {
  fields["record"] = kind;  // an event has a kind of its own
  fields["at_s"] = static_cast<double>(monotonic_ns() - plan_.start_ns) * 1e-9;
  records.add(fields);
}

void Narrator::flush() {
  const bool written = metrics_.flush() && events_file_.flush();
  if (written || records_failed_) return;
  records_failed_ = true;
  note(LogLevel::kWarning, "metrics and events cannot be written any more; is the disk full?");
}

}  // namespace instep::coord
