#include "coord/curve.h"

#include <algorithm>
#include <cmath>

namespace instep::coord {
namespace {

// The four in the order of their x, each once.
void append(std::vector<Point>& out, const Point& first, const Point& least, const Point& greatest,
            const Point& last) {
  const bool falls = greatest.x < least.x;
  for (const Point& point : {first, falls ? greatest : least, falls ? least : greatest, last}) {
    if (out.empty() || !(out.back() == point)) out.push_back(point);
  }
}

}  // namespace

void Curve::Bucket::take(const Point& point) {
  if (count == 0) first = least = greatest = point;
  if (point.y < least.y) least = point;
  if (point.y > greatest.y) greatest = point;
  last = point;
  ++count;
}

void Curve::add(Point point) {
  if (!std::isfinite(point.x) || !std::isfinite(point.y)) return;
  if (!buckets_.empty()) point.x = std::max(point.x, buckets_.back().last.x);
  if (buckets_.empty() || buckets_.back().count >= a_bucket_) {
    if (buckets_.size() == kMostBuckets) halve();
    if (buckets_.empty() || buckets_.back().count >= a_bucket_) buckets_.emplace_back();
  }
  buckets_.back().take(point);
  ++added_;
}

void Curve::halve() {
  std::vector<Bucket> joined;
  joined.reserve(kMostBuckets);
  for (std::size_t i = 0; i < buckets_.size(); i += 2) {
    Bucket bucket = buckets_[i];
    if (i + 1 < buckets_.size()) {
      const Bucket& next = buckets_[i + 1];
      if (next.least.y < bucket.least.y) bucket.least = next.least;
      if (next.greatest.y > bucket.greatest.y) bucket.greatest = next.greatest;
      bucket.last = next.last;
      bucket.count += next.count;
    }
    joined.push_back(bucket);
  }
  buckets_ = std::move(joined);
  a_bucket_ *= 2;
}

void Curve::cut(double x) {
  while (!buckets_.empty() && buckets_.back().first.x >= x) {
    added_ -= std::min(added_, buckets_.back().count);
    buckets_.pop_back();
  }
  if (buckets_.empty() || buckets_.back().last.x < x) return;
  // Of the bucket that reaches across, what is known to lie before.
  const Bucket old = buckets_.back();
  Bucket kept;
  std::vector<Point> points;
  append(points, old.first, old.least, old.greatest, old.last);
  for (const Point& point : points) {
    if (point.x < x) kept.take(point);
  }
  kept.count = std::max<std::uint64_t>(kept.count, a_bucket_);  // it takes no more
  buckets_.back() = kept;
}

std::vector<Point> Curve::points() const {
  std::vector<Point> out;
  for (const Bucket& bucket : buckets_) {
    append(out, bucket.first, bucket.least, bucket.greatest, bucket.last);
  }
  return out;
}

std::vector<Point> thin(const std::vector<Point>& points, double width) {
  std::vector<Point> out;
  for (std::size_t begin = 0; begin < points.size();) {
    const double column = std::floor(points[begin].x / width);
    Point least = points[begin];
    Point greatest = points[begin];
    std::size_t end = begin;
    for (; end < points.size() && std::floor(points[end].x / width) <= column; ++end) {
      if (points[end].y < least.y) least = points[end];
      if (points[end].y > greatest.y) greatest = points[end];
    }
    const Point& first = begin == 0 ? points.front() : least.x < greatest.x ? least : greatest;
    const Point& last = end == points.size()   ? points.back()
                        : least.x < greatest.x ? greatest
                                               : least;
    append(out, first, least, greatest, last);
    begin = end;
  }
  return out;
}

}  // namespace instep::coord
