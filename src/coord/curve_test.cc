#include "coord/curve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace instep::coord {
namespace {

using Points = std::vector<Point>;

TEST(Curve, KeepsFewPointsAsTheyAre) {
  Curve curve;
  const Points points = {{1, 5}, {2, 3}, {3, 4}};
  for (const Point& point : points) curve.add(point);
  curve.add({4, std::nan("")});
  curve.add({INFINITY, 1});
  EXPECT_EQ(curve.points(), points);
  EXPECT_EQ(curve.added(), 3U);
}

// A curve thinned by taking every n-th point lost the one round that spoilt the run.
TEST(Curve, AMillionPointsAreFewAndTheSpikesStay) {
  Curve curve;
  constexpr int kPoints = 1'000'000;
  for (int i = 0; i < kPoints; ++i) {
    curve.add({double(i), i == 123'457 ? 1e6 : i == 765'432 ? -1e6 : std::sin(i)});
  }
  const Points points = curve.points();
  EXPECT_EQ(curve.added(), 1'000'000U);
  EXPECT_LE(points.size(), 4 * Curve::kMostBuckets);
  EXPECT_GE(points.size(), Curve::kMostBuckets);
  EXPECT_NE(std::find(points.begin(), points.end(), Point{123'457, 1e6}), points.end());
  EXPECT_NE(std::find(points.begin(), points.end(), Point{765'432, -1e6}), points.end());
  EXPECT_EQ(points.front().x, 0);
  EXPECT_EQ(points.back().x, kPoints - 1);
  EXPECT_TRUE(std::is_sorted(points.begin(), points.end(),
                             [](const Point& a, const Point& b) { return a.x < b.x; }));
}

TEST(Curve, WhatIsDoneAgainReplacesWhatWas) {
  for (const int points : {10, 20'000}) {
    Curve curve;
    for (int i = 0; i < points; ++i) curve.add({double(i), 1});
    const int from = points / 2 + 1;
    curve.cut(from);
    for (int i = from; i < points; ++i) curve.add({double(i), 2});
    for (const Point& point : curve.points()) {
      EXPECT_EQ(point.y, point.x < from ? 1 : 2) << "at " << point.x;
    }
    EXPECT_EQ(curve.points().back(), (Point{double(points - 1), 2}));
    curve.cut(0);
    EXPECT_TRUE(curve.empty());
  }
}

TEST(Thin, AColumnKeepsItsExtremes) {
  Points points;
  for (int i = 0; i < 1000; ++i) points.push_back({i / 100.0, i == 550 ? 9.0 : i == 555 ? -9 : 0});
  const Points few = thin(points, 1.0);
  EXPECT_LE(few.size(), 22U);
  EXPECT_EQ(few.front(), points.front());
  EXPECT_EQ(few.back(), points.back());
  EXPECT_NE(std::find(few.begin(), few.end(), Point{5.5, 9}), few.end());
  EXPECT_NE(std::find(few.begin(), few.end(), Point{5.55, -9}), few.end());
  EXPECT_EQ(thin({{3, 4}}, 1.0), (Points{{3, 4}}));
  EXPECT_TRUE(thin({}, 1.0).empty());
}

}  // namespace
}  // namespace instep::coord
