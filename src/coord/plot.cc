#include "coord/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "base/text.h"
#include "base/utf8.h"
#include "coord/ticks.h"

namespace instep::coord {
namespace {

constexpr double kWidth = 960;
constexpr double kLeft = 76;
constexpr double kRight = 936;
constexpr double kLossHeight = 240;
constexpr double kPanelHeight = 150;
constexpr double kGap = 40;  // between panels, with a title in it
constexpr double kLineHeight = 18;
constexpr double kColumnWidth = 6.6;  // of small letters, about
constexpr std::size_t kMostNotes = 12;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

// The sets that a curve may be of, in the order of their dashes.
constexpr std::array<const char*, 4> kSets = {"training", "validation", "test", ""};

const char* words_of(std::size_t set) { return *kSets[set] == '\0' ? "measured" : kSets[set]; }

struct Curves {
  std::size_t run = 0, set = 0;
  std::vector<Point> points;  // in the units of the axes
};

struct Chart {
  std::string title;
  double height = kPanelHeight;
  bool log = false;
  std::vector<Curves> curves;
};

class Plotter {
 public:
  Plotter(const std::vector<RunRecords>& runs, const PlotOptions& options)
      : runs_(runs), options_(options) {}
  Drawing draw();

 private:
  void collect();
  void add(Chart& chart, std::size_t run, std::size_t set, const Curve& curve);
  void keep(Chart chart);
  void set_x_axis();
  double x(double value) const {
    return kLeft + std::clamp(axis_.place(value), 0.0, 1.0) * (kRight - kLeft);
  }
  Style style(std::size_t run, std::size_t set) const;
  std::string name(std::size_t run, std::size_t set) const;
  void add_keys();
  void add_key(Key key);
  void add_panel(const Chart& chart);
  void add_flags();
  void add_notes();
  std::string where(const Mark& mark) const;
  std::string words(const RunRecords& run, const Mark& mark) const;

  const std::vector<RunRecords>& runs_;
  PlotOptions options_;
  std::vector<Chart> charts_;
  Axis axis_;
  Drawing out_;
  double key_x_ = kLeft, y_ = 0;
};

FlagKind kind_of(const std::string& kind) {
  if (kind == "resume" || kind == "join") return FlagKind::kResume;
  if (kind == "stop") return FlagKind::kStop;
  const bool bad = kind == "skipped" || kind == "death" || kind == "died" ||
                   kind.find("failed") != std::string::npos;
  return bad ? FlagKind::kFailure : FlagKind::kOther;
}

void Plotter::add(Chart& chart, std::size_t run, std::size_t set, const Curve& curve) {
  std::vector<Point> points = curve.points();
  if (chart.log) {
    points.erase(std::remove_if(points.begin(), points.end(),
                                [](const Point& point) { return point.y <= 0; }),
                 points.end());
  }
  if (!points.empty()) chart.curves.push_back({run, set, std::move(points)});
}

void Plotter::keep(Chart chart) {
  if (!chart.curves.empty()) charts_.push_back(std::move(chart));
}

void Plotter::collect() {
  std::set<std::string> metrics;
  for (const RunRecords& run : runs_) {
    for (const auto& [metric, sets] : run.metrics) metrics.insert(metric);
  }
  const auto add_sets = [this](Chart& chart, std::size_t run, const std::string& metric) {
    const auto found = runs_[run].metrics.find(metric);
    if (found == runs_[run].metrics.end()) return;
    for (std::size_t set = 1; set < kSets.size(); ++set) {
      const auto curve = found->second.find(kSets[set]);
      if (curve != found->second.end()) add(chart, run, set, curve->second);
    }
  };
  Chart loss{options_.log_loss ? "loss (logarithmic)" : "loss", kLossHeight, options_.log_loss, {}};
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    add(loss, run, 0, runs_[run].loss);
    add_sets(loss, run, "loss");
  }
  keep(std::move(loss));
  for (const std::string& metric : metrics) {
    if (metric == "loss") continue;
    Chart chart{metric, kPanelHeight, false, {}};
    for (std::size_t run = 0; run < runs_.size(); ++run) add_sets(chart, run, metric);
    keep(std::move(chart));
  }
  Chart speed{"throughput, samples/s", kPanelHeight, false, {}};
  for (std::size_t run = 0; run < runs_.size(); ++run) add(speed, run, 0, runs_[run].throughput);
  keep(std::move(speed));
}

void Plotter::set_x_axis() {
  Range range;
  for (const Chart& chart : charts_) {
    for (const Curves& curve : chart.curves) {
      range.take(curve.points.front().x);
      range.take(curve.points.back().x);
    }
  }
  for (const RunRecords& run : runs_) {
    for (const Mark& mark : run.marks) range.take(mark.x);
  }
  if (range.empty()) range.take(0);
  constexpr double kFromZero = 0.2;  // of the whole: as well begin at the beginning
  if (range.low > 0 && range.low < kFromZero * range.high) range.low = 0;
  constexpr int kTicks = 10;
  const Unit unit = options_.by == By::kTime    ? Unit::kSeconds
                    : options_.by == By::kRound ? Unit::kWhole
                                                : Unit::kNumber;
  axis_ = linear_axis(range.low, range.high, kTicks, unit, false);
  for (std::size_t i = 0; i < axis_.ticks.size(); ++i) {
    out_.ticks.push_back({x(axis_.ticks[i]), axis_.labels[i]});
  }
  out_.x_title = options_.by == By::kTime    ? "time of running"
                 : options_.by == By::kRound ? "rounds"
                                             : "epochs of data";
}

Style Plotter::style(std::size_t run, std::size_t set) const {
  Style out;
  const std::size_t colour = runs_.size() > 1 ? run : set;
  out.colour = static_cast<int>(colour % kColours);
  out.bold = colour >= kColours;
  out.dash = static_cast<int>(set);
  return out;
}

std::string Plotter::name(std::size_t run, std::size_t set) const {
  return runs_.size() > 1 ? cat(runs_[run].name, ", ", words_of(set)) : words_of(set);
}

void Plotter::add_key(Key key) {
  const double width = 24 + 6 + kColumnWidth * columns(key.text) + 18;
  if (key_x_ > kLeft && key_x_ + width > kRight) {
    key_x_ = kLeft;
    y_ += kLineHeight;
  }
  key.x = key_x_;
  key.y = y_;
  key_x_ += width;
  out_.keys.push_back(std::move(key));
}

void Plotter::add_keys() {
  constexpr int kMostColumns = 60;
  y_ = 44;
  std::set<std::size_t> sets;
  for (const Chart& chart : charts_) {
    for (const Curves& curve : chart.curves) sets.insert(curve.set);
  }
  if (runs_.size() > 1) {
    for (std::size_t run = 0; run < runs_.size(); ++run) {
      Key key;
      key.text = fit(runs_[run].name, kMostColumns);
      key.style = style(run, 0);
      add_key(std::move(key));
    }
  }
  for (const std::size_t set : sets) {
    Key key;
    key.text = words_of(set);
    key.style = style(0, set);
    key.style.plain = runs_.size() > 1;
    add_key(std::move(key));
  }
  std::set<std::string> kinds;
  for (const RunRecords& run : runs_) {
    for (const Mark& mark : run.marks) kinds.insert(mark.kind);
  }
  constexpr std::size_t kMostKinds = 8;
  for (const std::string& kind : kinds) {
    if (kinds.size() > kMostKinds) break;  // the notes below the picture name them
    Key key;
    key.text = fit(kind, kMostColumns);
    key.flag = true;
    key.kind = kind_of(kind);
    add_key(std::move(key));
  }
  y_ += kGap;
}

void Plotter::add_panel(const Chart& chart) {
  Range range;
  for (const Curves& curve : chart.curves) {
    for (const Point& point : curve.points) range.take(point.y);
  }
  constexpr int kTicks = 5;
  // A share or a speed that is drawn from 0 shows how large it is.
  const bool loss = chart.height == kLossHeight;
  if (!chart.log && !loss && range.low > 0 && range.low < range.high / 2) range.low = 0;
  const Axis axis = chart.log ? log_axis(range.low, range.high, kTicks)
                              : linear_axis(range.low, range.high, kTicks, Unit::kNumber, true);
  Panel panel;
  panel.title = chart.title;
  panel.top = y_;
  panel.height = chart.height;
  const auto y = [&](double value) {
    return panel.top + (1 - std::clamp(axis.place(value), 0.0, 1.0)) * panel.height;
  };
  for (std::size_t i = 0; i < axis.ticks.size(); ++i) {
    panel.ticks.push_back({y(axis.ticks[i]), axis.labels[i]});
  }
  for (const Curves& curve : chart.curves) {
    Line line;
    line.name = name(curve.run, curve.set);
    line.style = style(curve.run, curve.set);
    for (const Point& point : curve.points) line.points.push_back({x(point.x), y(point.y)});
    line.points = thin(line.points, 1.0);
    constexpr std::size_t kFew = 60;
    line.dots = line.points.size() == 1 || (curve.set > 0 && line.points.size() <= kFew);
    panel.lines.push_back(std::move(line));
  }
  out_.panels.push_back(std::move(panel));
  y_ += chart.height + kGap;
}

std::string Plotter::where(const Mark& mark) const {
  switch (options_.by) {
    case By::kRound:
      return cat("round ", axis_number(mark.x));
    case By::kEpoch:
      return cat("epoch ", number(mark.x, 3));
    case By::kTime:
      break;
  }
  return cat(number(mark.x, 1), " s");
}

std::string Plotter::words(const RunRecords& run, const Mark& mark) const {
  return cat(runs_.size() > 1 ? cat(run.name, ", ") : "", where(mark), ": ", mark.kind,
             mark.reason.empty() ? "" : cat(": ", mark.reason));
}

// Those of one kind that would lie on each other are one.
void Plotter::add_flags() {
  constexpr std::size_t kMostLines = 6;
  struct Held {
    FlagKind kind;
    double column;
    std::vector<std::string> lines;
    std::size_t count;
  };
  std::vector<Held> held;
  for (const RunRecords& run : runs_) {
    std::array<std::optional<std::size_t>, 4> newest;  // by kind
    for (const Mark& mark : run.marks) {
      const FlagKind kind = kind_of(mark.kind);
      const double column = std::floor(x(mark.x) / 2);
      auto& at = newest[static_cast<std::size_t>(kind)];
      if (!at || held[*at].column != column) {
        at = held.size();
        held.push_back({kind, column, {}, 0});
      }
      if (++held[*at].count <= kMostLines) held[*at].lines.push_back(words(run, mark));
      if (held[*at].count == 1) out_.flags.push_back({x(mark.x), kind, ""});
    }
  }
  for (std::size_t i = 0; i < held.size(); ++i) {
    out_.flags[i].text = join(held[i].lines, "\n");
    if (held[i].count > kMostLines) {
      out_.flags[i].text += cat("\nand ", held[i].count - kMostLines, " more");
    }
  }
}

void Plotter::add_notes() {
  constexpr int kMostColumns = 140;
  y_ += 12;  // the axis has taken the gap
  std::size_t left_out = 0;
  for (const RunRecords& run : runs_) left_out += run.marks_left_out;
  for (const RunRecords& run : runs_) {
    for (const Mark& mark : run.marks) {
      if (out_.notes.size() >= kMostNotes) {
        ++left_out;
        continue;
      }
      out_.notes.push_back({kLeft, y_, fit(words(run, mark), kMostColumns)});
      y_ += kLineHeight;
    }
  }
  if (left_out > 0) {
    out_.notes.push_back({kLeft, y_, cat("and ", left_out, " more events")});
    y_ += kLineHeight;
  }
}

Drawing Plotter::draw() {
  out_.width = kWidth;
  out_.left = kLeft;
  out_.right = kRight;
  constexpr int kTitleColumns = 100;
  out_.title =
      fit(runs_.size() == 1 ? runs_.front().name : cat(runs_.size(), " runs"), kTitleColumns);
  collect();
  set_x_axis();
  add_keys();
  for (const Chart& chart : charts_) add_panel(chart);
  add_flags();
  add_notes();
  out_.height = std::ceil(y_);
  return std::move(out_);
}

}  // namespace

Drawing plot(const std::vector<RunRecords>& runs, const PlotOptions& options) {
  return Plotter(runs, options).draw();
}

}  // namespace instep::coord
