#include "coord/narrator.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "base/version.h"
#include "coord/report.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kRedraw = kSecond / 5;
constexpr std::int64_t kPlainLine = 10 * kSecond;
constexpr std::int64_t kSmallShard = 8;

}  // namespace

Narrator::Narrator(const LaunchPlan& plan)
    : plan_(plan),
      // A program's own output has stdout for itself.
      display_(plan.own_program ? stderr : stdout, plan.quiet || plan.mode != Mode::kTrain) {}

Status Narrator::begin() {
  if (!plan_.records) return {};
  INSTEP_ASSIGN_OR_RETURN(metrics_, Records::open(plan_.run_dir / "metrics.jsonl"));
  INSTEP_ASSIGN_OR_RETURN(events_file_, Records::open(plan_.run_dir / "events.jsonl"));
  return {};
}

void Narrator::job_is_known(const job::Job& job) {
  epochs_ = job.epochs;
  picture_.name = job.name;
  picture_.epochs = static_cast<double>(job.epochs);
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
  if (samples < kSmallShard) {
    note(LogLevel::kWarning, cat("a shard computes ", samples, " samples a round (batch ",
                                 job.batch, " over ", job.shards,
                                 " shards): shards so small can cost more than 10%; a larger batch "
                                 "or fewer shards make it faster"));
  }
}

void Narrator::view_is_out(const member::View& view, std::uint32_t shards) {
  running_ = true;
  looked_at_ = now_ns();
  record(events_file_,
         {{"epoch", cat(view.epoch.generation, ".", view.epoch.number)},
          {"first_round", view.first_round},
          {"members", view.members},
          {"spares", view.spares}},
         "view");
  if (view.spares.empty() || plan_.mode != Mode::kTrain) return;
  const std::string text = view.spares.size() == 1
                               ? cat("agent ", view.spares.front(), " has no shard and stands by")
                               : cat("agents ", view.spares.front(), "-", view.spares.back(),
                                     " have no shard and stand by");
  note(LogLevel::kWarning, cat(text, " (shards = ", shards, ")"));
}

void Narrator::progress(member::AgentId agent, const wire::Progress& progress) {
  Json fields = parse_fields(progress.fields);
  if (progress.kind == "rounds") {
    record(metrics_, std::move(fields), "rounds");
  } else if (progress.kind == "epoch") {
    for (const char* set : {"validation", "test"}) {
      const std::string words = metric_words(fields.value(set, Json()));
      if (words.empty()) continue;
      picture_.metric = cat(set, " ", words);
      break;
    }
    display_.line(epoch_words(fields, epochs_));
    log(LogLevel::kInfo, epoch_words(fields, epochs_));
    if (!display_.live()) looked_at_ = now_ns();
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

void Narrator::output(std::uint32_t agent, std::string_view line) {
  display_.clear();
  const std::string text = plan_.agents > 1 ? cat("[", agent, "] ", line, "\n") : cat(line, "\n");
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::int64_t Narrator::next_look() const {
  if (display_.live()) return looked_at_ + kRedraw;
  return running_ && plan_.mode == Mode::kTrain && !plan_.quiet
             ? looked_at_ + kPlainLine
             : std::numeric_limits<std::int64_t>::max();
}

void Narrator::draw(std::int64_t now, std::vector<AgentSnapshot> agents) {
  looked_at_ = now;
  picture_.agents = std::move(agents);
  std::uint64_t samples = 0;
  std::uint64_t round = 0;
  for (const AgentSnapshot& agent : picture_.agents) {
    samples += agent.samples;
    round = std::max(round, agent.round);
  }
  picture_.samples_per_s = samples_rate_.update(samples, now);
  picture_.rounds_per_s = rounds_rate_.update(round, now);
  if (display_.live()) {
    display_.draw(picture_);
  } else {
    display_.line(plain(picture_));
  }
}

void Narrator::note(LogLevel level, const std::string& text) {
  display_.clear();  // a warning goes to stderr, which may be the same terminal
  if (level != LogLevel::kWarning) display_.line(text);
  log(level, text);
}

void Narrator::record(Records& records, Json fields, const char* kind) {
  fields["record"] = kind;  // an event has a kind of its own
  fields["at_s"] = static_cast<double>(now_ns() - plan_.start_ns) * 1e-9;
  records.add(fields);
}

void Narrator::flush() {
  const bool written = metrics_.flush() && events_file_.flush();
  if (written || records_failed_) return;
  records_failed_ = true;
  note(LogLevel::kWarning, "metrics and events cannot be written any more; is the disk full?");
}

}  // namespace instep::coord
