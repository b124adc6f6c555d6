// Where an axis has its marks, and how numbers are written there. Pure.
#pragma once

#include <string>
#include <vector>

namespace instep::coord {

struct Axis {
  double low = 0, high = 1;  // of what is drawn; low < high, both above 0 where `log`
  bool log = false;
  std::vector<double> ticks;        // between low and high
  std::vector<std::string> labels;  // of the ticks
  // Where a value lies: 0 at low, 1 at high.
  double place(double value) const;
};

enum class Unit { kNumber, kWhole, kSeconds };

// An axis over [low, high] with about `count` marks at 1, 2 or 5 times a power of ten (times of a
// clock for seconds), so that its ends are `low` and `high` themselves, or, with `round_out`, the
// marks around them.
Axis linear_axis(double low, double high, int count, Unit unit, bool round_out);
// Both above 0. Marks at powers of ten; at their double and fivefold too if there are few.
Axis log_axis(double low, double high, int count);

// "1,200", "0.05", "1e-06".
std::string axis_number(double value);

}  // namespace instep::coord
