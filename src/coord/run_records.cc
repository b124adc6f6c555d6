#include "coord/run_records.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/text.h"
#include "base/utf8.h"
#include "coord/output.h"

namespace instep::coord {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostMarks = 2000;
constexpr std::size_t kMostMetrics = 16;
constexpr int kMostText = 300;  // columns of a reason, of a name

std::optional<double> real(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return {};
  const auto value = found->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_string() ? std::string()
                                                      : fit(found->get<std::string>(), kMostText);
}

// Hands on the records of a file; lines that are none are counted in a warning.
Status each_record(const fs::path& path, std::vector<std::string>& warnings,
                   const std::function<void(const Json&)>& sink) {
  // Whatever lies there instead of a file must not make us wait.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid() && errno == ENOENT) return {};
  if (!fd.valid()) return os_error("read", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return os_error("read", path, errno);
  if (!S_ISREG(info.st_mode)) return invalid(cat(path.string(), " is no file of records"));
  std::uint64_t line = 0;
  std::uint64_t damaged = 0;
  std::uint64_t first_damaged = 0;
  const auto take = [&](std::string_view bytes) {
    ++line;
    if (bytes.empty()) return;
    const Json record = Json::parse(bytes, nullptr, false);
    if (record.is_object() && real(record, "at_s") && !text(record, "record").empty()) {
      return sink(record);
    }
    if (damaged++ == 0) first_damaged = line;
  };
  LineCutter cutter;
  std::string buffer(1 << 18, '\0');
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("read", path, errno);
    if (got == 0) break;
    cutter.add(std::string_view(buffer.data(), static_cast<std::size_t>(got)), take);
  }
  cutter.finish(take);
  if (damaged > 0) {
    warnings.push_back(cat(path.string(), ":", first_damaged, ": ",
                           damaged == 1 ? "this line is no whole record"
                                        : cat("this and ", damaged - 1,
                                              " other lines are no whole "
                                              "records"),
                           "; left out"));
  }
  return {};
}

// Tells where the records of one command end and those of the next begin.
class Commands {
 public:
  // The number of the record's command, from 0; true in `fresh` if it is its first record.
  std::size_t of(const Json& record, bool& fresh) {
    const double at = *real(record, "at_s");
    const bool begins = record["record"] == "begin";
    fresh = ends_.empty() || begins || at < ends_.back();
    if (fresh) ends_.push_back(at);
    ends_.back() = at;
    return ends_.size() - 1;
  }
  const std::vector<double>& ends() const { return ends_; }

 private:
  std::vector<double> ends_;  // newest at_s of each
};

class Reader {
 public:
  Reader(const fs::path& run, By by) : run_(run), by_(by) {}
  Result<RunRecords> read();

 private:
  struct Event {
    std::size_t command = 0;
    double at_s = 0;
    std::optional<double> round;
    std::string kind, reason;
  };
  void take_event(const Json& record);
  void add_event(const Event& event);
  void take_metric(const Json& record);
  void begin_command(std::size_t command);
  void take_epoch(const Json& record, double x);
  void add_metrics(const Json& values, const std::string& set, double x);
  std::optional<double> place(const Json& record) const;
  double place(const Event& event) const;
  void choose();
  void sort_marks();

  fs::path run_;
  By by_;
  RunRecords out_;
  Commands of_events_, of_metrics_;
  std::vector<Event> events_;
  std::optional<std::size_t> stop_;    // of this command, in events_
  bool viewed_ = false;                // this command has published a view
  double offset_ = 0;                  // seconds of the commands before
  std::vector<double> offsets_ = {0};  // by command
  std::vector<double> last_rounds_;    // by command
  double rounds_an_epoch_ = 0;
  // Both kinds of records have loss and throughput; the one that has more points is shown.
  Curve round_loss_, epoch_loss_, round_speed_, epoch_speed_;
  bool too_many_metrics_ = false;
};

Result<RunRecords> Reader::read() {
  std::error_code error;
  if (!fs::exists(run_ / "run.json", error) && !fs::exists(run_ / "metrics.jsonl", error)) {
    return Error{ErrorKind::kNotFound,
                 cat(run_.string(), " is no run directory: it has no run.json")};
  }
  out_.name = fit(run_.filename().string(), kMostText);
  INSTEP_RETURN_IF_ERROR(each_record(run_ / "events.jsonl", out_.warnings,
                                     [this](const Json& record) { take_event(record); }));
  INSTEP_RETURN_IF_ERROR(each_record(run_ / "metrics.jsonl", out_.warnings,
                                     [this](const Json& record) { take_metric(record); }));
  if (too_many_metrics_) {
    out_.warnings.push_back(
        cat(run_.string(), " has more than ", kMostMetrics, " metrics; the rest is left out"));
  }
  choose();
  sort_marks();
  return std::move(out_);
}

void Reader::take_event(const Json& record) {
  bool fresh = false;
  const std::size_t command = of_events_.of(record, fresh);
  if (fresh) {
    viewed_ = false;
    stop_.reset();
  }
  Event event;
  event.command = command;
  event.at_s = *real(record, "at_s");
  event.round = real(record, "round");
  const std::string what = text(record, "record");
  if (what == "event") {
    event.kind = text(record, "kind");
    event.reason = text(record, "reason");
    const double agent = real(record, "agent").value_or(-1);
    if (agent >= 0)
      event.reason = cat("agent ", agent, event.reason.empty() ? "" : ": ", event.reason);
    add_event(event);
  } else if (what == "stop") {
    event.kind = "stop";
    event.reason = text(record, "reason");
    if (events_.size() < kMostMarks) stop_ = events_.size();
    add_event(event);
  } else if (what == "checkpoint") {
    // The last one that a stop leads to says where it came.
    if (stop_) events_[*stop_].round = event.round;
  } else if (what == "view" && !viewed_) {
    viewed_ = true;
    if (command == 0) return;
    event.kind = "resume";
    event.round = real(record, "first_round");
    const auto members = record.find("members");
    const std::size_t agents = members != record.end() && members->is_array() ? members->size() : 0;
    event.reason = cat("after round ", number(event.round.value_or(0), 0));
    if (agents > 0) event.reason += cat(", on ", agents, agents == 1 ? " agent" : " agents");
    add_event(event);
  }
}

void Reader::add_event(const Event& event) {
  if (events_.size() < kMostMarks) {
    events_.push_back(event);
  } else {
    ++out_.marks_left_out;
  }
}

void Reader::begin_command(std::size_t command) {
  if (command > 0) {
    // Until the last thing that it is known to have done.
    const std::vector<double>& events = of_events_.ends();
    double end = of_metrics_.ends()[command - 1];
    if (command - 1 < events.size()) end = std::max(end, events[command - 1]);
    offset_ += end;
    offsets_.push_back(offset_);
  }
  last_rounds_.push_back(last_rounds_.empty() ? 0 : last_rounds_.back());
}

std::optional<double> Reader::place(const Json& record) const {
  switch (by_) {
    case By::kRound:
      return real(record, "round");
    case By::kEpoch:
      return real(record, "data_epoch");
    case By::kTime:
      break;
  }
  return offset_ + *real(record, "at_s");
}

void Reader::take_metric(const Json& record) {
  bool fresh = false;
  const std::size_t command = of_metrics_.of(record, fresh);
  if (fresh) begin_command(command);
  const std::string what = text(record, "record");
  if (what != "rounds" && what != "epoch") return;
  const auto round = real(record, "round");
  const auto epoch = real(record, "data_epoch");
  if (round && epoch && *epoch > 0) rounds_an_epoch_ = *round / *epoch;
  const auto x = place(record);
  if (!x) return;
  // A run that goes on from a checkpoint does again what came after it.
  if (by_ != By::kTime && round && *round < last_rounds_.back()) {
    for (Curve* curve : {&round_loss_, &epoch_loss_, &round_speed_, &epoch_speed_}) curve->cut(*x);
    for (auto& [name, sets] : out_.metrics) {
      for (auto& [set, curve] : sets) curve.cut(*x);
    }
  }
  if (round) last_rounds_.back() = *round;
  const auto speed = real(record, "samples_per_s");
  if (what == "epoch") {
    take_epoch(record, *x);
    if (speed) epoch_speed_.add({*x, *speed});
    return;
  }
  if (const auto loss = real(record, "loss")) round_loss_.add({*x, *loss});
  if (speed) round_speed_.add({*x, *speed});
}

void Reader::take_epoch(const Json& record, double x) {
  if (const auto loss = real(record, "train_loss")) epoch_loss_.add({x, *loss});
  for (const auto& [set, key] : {std::pair("validation", "validation"), std::pair("test", "test"),
                                 std::pair("", "metrics")}) {
    const auto values = record.find(key);
    if (values != record.end() && values->is_object()) add_metrics(*values, set, x);
  }
}

void Reader::add_metrics(const Json& values, const std::string& set, double x) {
  for (const auto& [name, value] : values.items()) {
    if (!value.is_number()) continue;
    const std::string key = fit(name, kMostText);
    if (out_.metrics.size() >= kMostMetrics && out_.metrics.count(key) == 0) {
      too_many_metrics_ = true;
      continue;
    }
    out_.metrics[key][set].add({x, value.get<double>()});
  }
}

void Reader::choose() {
  const auto fuller = [](Curve& rounds, Curve& epochs) -> Curve {
    return rounds.added() >= 2 && rounds.added() >= epochs.added() ? rounds : epochs;
  };
  out_.loss = fuller(round_loss_, epoch_loss_);
  out_.throughput = fuller(round_speed_, epoch_speed_);
}

double Reader::place(const Event& event) const {
  if (by_ == By::kTime) {
    return event.at_s + offsets_[std::min(event.command, offsets_.size() - 1)];
  }
  const double known =
      last_rounds_.empty() ? 0 : last_rounds_[std::min(event.command, last_rounds_.size() - 1)];
  const double round = event.round.value_or(known);
  if (by_ == By::kRound) return round;
  return rounds_an_epoch_ > 0 ? round / rounds_an_epoch_ : 0;
}

void Reader::sort_marks() {
  for (const Event& event : events_) {
    out_.marks.push_back({place(event), event.kind.empty() ? "event" : event.kind, event.reason});
  }
  std::stable_sort(out_.marks.begin(), out_.marks.end(),
                   [](const Mark& a, const Mark& b) { return a.x < b.x; });
}

}  // namespace

Result<RunRecords> read_records(const fs::path& run, By by) { return Reader(run, by).read(); }

}  // namespace instep::coord
