#include "coord/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace instep::coord {
namespace {

RunRecords run(const std::string& name, double scale = 1) {
  RunRecords out;
  out.name = name;
  for (int i = 0; i < 100; ++i) {
    out.loss.add({double(i), scale * std::exp(-i / 20.0)});
    out.throughput.add({double(i), 1000 * scale});
  }
  for (int i = 0; i < 100; i += 10) {
    out.metrics["loss"]["test"].add({double(i), scale});
    out.metrics["accuracy"]["test"].add({double(i), i / 100.0});
    out.metrics["accuracy"]["validation"].add({double(i), i / 110.0});
  }
  return out;
}

TEST(Plot, PanelsForWhatIsThere) {
  const Drawing drawing = plot({run("a")}, {});
  ASSERT_EQ(drawing.panels.size(), 3U);
  EXPECT_EQ(drawing.panels[0].title, "loss");
  EXPECT_EQ(drawing.panels[1].title, "accuracy");
  EXPECT_EQ(drawing.panels[2].title, "throughput, samples/s");
  ASSERT_EQ(drawing.panels[0].lines.size(), 2U);
  EXPECT_EQ(drawing.panels[0].lines[0].points.size(), 100U);
  EXPECT_EQ(drawing.panels[0].lines[0].name, "training");
  EXPECT_EQ(drawing.panels[0].lines[1].name, "test");
  EXPECT_EQ(drawing.panels[1].lines.size(), 2U);
  // Each in its colour and dash, and all of it on the picture.
  EXPECT_NE(drawing.panels[1].lines[0].style.colour, drawing.panels[1].lines[1].style.colour);
  EXPECT_NE(drawing.panels[1].lines[0].style.dash, drawing.panels[1].lines[1].style.dash);
  double bottom = 0;
  for (const Panel& panel : drawing.panels) {
    EXPECT_GT(panel.top, bottom);
    bottom = panel.top + panel.height;
    for (const Line& line : panel.lines) {
      for (const Point& point : line.points) {
        EXPECT_GE(point.x, drawing.left);
        EXPECT_LE(point.x, drawing.right);
        EXPECT_GE(point.y, panel.top);
        EXPECT_LE(point.y, bottom);
      }
    }
  }
  EXPECT_GT(drawing.height, bottom);
  // The loss falls: downwards on the picture.
  const auto& loss = drawing.panels[0].lines[0].points;
  EXPECT_LT(loss.front().y, loss.back().y);
}

TEST(Plot, ALogarithmicLossIsAStraightLine) {
  RunRecords falling = run("a");
  falling.metrics.clear();
  falling.loss.add({99, 0});  // has no logarithm
  PlotOptions options;
  options.log_loss = true;
  const Drawing drawing = plot({falling}, options);
  const auto& points = drawing.panels[0].lines[0].points;
  ASSERT_EQ(points.size(), 100U);
  const double slope = points[1].y - points[0].y;
  for (std::size_t i = 1; i < points.size(); ++i) {
    EXPECT_NEAR(points[i].y - points[i - 1].y, slope, 1e-6);
  }
  RunRecords below;
  below.loss.add({1, -1});
  EXPECT_TRUE(plot({below}, options).panels.empty());
}

TEST(Plot, RunsAreToldApart) {
  std::vector<RunRecords> runs;
  for (std::size_t i = 0; i < kMostRuns; ++i)
    runs.push_back(run("run-" + std::to_string(i), i + 1.0));
  const Drawing drawing = plot(runs, {});
  std::set<std::tuple<int, int, bool>> looks;
  for (const Line& line : drawing.panels[0].lines) {
    looks.insert({line.style.colour, line.style.dash, line.style.bold});
  }
  EXPECT_EQ(looks.size(), 2 * kMostRuns);  // training and test of each
  std::set<std::string> keys;
  for (const Key& key : drawing.keys) {
    keys.insert(key.text);
    EXPECT_LT(key.x, drawing.right);
    EXPECT_LT(key.y, drawing.panels[0].top);
  }
  EXPECT_EQ(keys.size(), kMostRuns + 3);
  EXPECT_EQ(keys.count("run-15"), 1U);
}

TEST(Plot, EventsOfOnePlaceAreOneFlagAndAllAreCounted) {
  RunRecords records = run("a");
  records.marks.push_back({5, "resume", "after round 5, on 2 agents"});
  for (int i = 0; i < 50; ++i) records.marks.push_back({50, "skipped", "NaN in shard 3"});
  records.marks_left_out = 7;
  const Drawing drawing = plot({records}, {});
  ASSERT_EQ(drawing.flags.size(), 2U);
  EXPECT_EQ(drawing.flags[0].text, "round 5: resume: after round 5, on 2 agents");
  EXPECT_EQ(drawing.flags[0].kind, FlagKind::kResume);
  EXPECT_EQ(drawing.flags[1].kind, FlagKind::kFailure);
  EXPECT_NE(drawing.flags[1].text.find("\nand 44 more"), std::string::npos);
  ASSERT_EQ(drawing.notes.size(), 13U);
  EXPECT_EQ(drawing.notes[0].text, "round 5: resume: after round 5, on 2 agents");
  EXPECT_EQ(drawing.notes[12].text, "and 46 more events");
  EXPECT_GT(drawing.height, drawing.notes[12].y);
}

TEST(Plot, OnePointIsAPicture) {
  RunRecords one;
  one.name = "one";
  one.loss.add({3, 0});
  for (const By by : {By::kRound, By::kEpoch, By::kTime}) {
    const Drawing drawing = plot({one}, {by, false});
    ASSERT_EQ(drawing.panels.size(), 1U);
    EXPECT_TRUE(drawing.panels[0].lines[0].dots);
    EXPECT_TRUE(std::isfinite(drawing.panels[0].lines[0].points[0].y));
  }
}

TEST(Svg, NothingFromOutsideGetsOut) {
  RunRecords records = run("<script>alert('x')</script>&\x01\xFF");
  records.marks.push_back({5, "\"><image href='http://x'/>", "]]><style>"});
  records.metrics["a<b"]["test"].add({1, 1});
  const std::string text = to_svg(plot({records, run("b")}, {}));
  EXPECT_EQ(text.find("<script"), std::string::npos);
  EXPECT_EQ(text.find("<image"), std::string::npos);
  EXPECT_NE(text.find("a&lt;b"), std::string::npos);
  EXPECT_EQ(text.find('\x01'), std::string::npos);
  EXPECT_EQ(text.find("nan"), std::string::npos);
  EXPECT_EQ(text.find("href='"), std::string::npos);
}

}  // namespace
}  // namespace instep::coord
