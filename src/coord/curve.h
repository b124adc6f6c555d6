// A curve of any number of points in bounded memory. Points that come are gathered in buckets of
// which the least, the greatest, the first and the last are kept, so that a spike stays however
// long the run; when there are too many buckets, neighbours become one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace instep::coord {

struct Point {
  double x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

class Curve {
 public:
  static constexpr std::size_t kMostBuckets = 4096;

  // x not below those before; what is not finite is left out.
  void add(Point point);
  // Forgets what is at `x` and beyond: it comes again.
  void cut(double x);
  bool empty() const { return buckets_.empty(); }
  std::uint64_t added() const { return added_; }
  // By x.
  std::vector<Point> points() const;

 private:
  struct Bucket {
    Point first, least, greatest, last;
    std::uint64_t count = 0;
    void take(const Point& point);
  };
  void halve();

  std::vector<Bucket> buckets_;
  std::uint64_t a_bucket_ = 1;  // points that the newest bucket takes
  std::uint64_t added_ = 0;
};

// The least and the greatest y of the points in each column `width` wide, beside the first and the
// last point.
std::vector<Point> thin(const std::vector<Point>& points, double width);

}  // namespace instep::coord
