#include "coord/ticks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "coord/display.h"

namespace instep::coord {
namespace {

double nice_step(double rough) {
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

double nice_seconds(double rough) {
  constexpr std::array<double, 16> kSteps = {1,   2,   5,    10,   15,   30,    60,    120,
                                             300, 600, 1800, 3600, 7200, 21600, 43200, 86400};
  if (rough <= 1) return nice_step(rough);
  for (const double step : kSteps) {
    if (step >= rough) return step;
  }
  return 86400 * nice_step(rough / 86400);
}

std::string seconds_text(double seconds, double step) {
  constexpr double kMinute = 60;
  constexpr double kHour = 3600;
  constexpr double kDay = 86400;
  if (seconds == 0) return "0";
  if (step < kMinute && seconds < 2 * kMinute) return cat(axis_number(seconds), " s");
  if (step >= kDay) return cat(axis_number(seconds / kDay), " d");
  if (step >= kHour) return cat(axis_number(seconds / kHour), " h");
  const auto whole = static_cast<long long>(std::llround(seconds));
  const auto two = [](long long value) { return cat(value < 10 ? "0" : "", value); };
  if (seconds < kHour && step >= kMinute) return cat(whole / 60, " min");
  if (seconds < kHour) return cat(whole / 60, ":", two(whole % 60), " min");
  return cat(whole / 3600, ":", two(whole / 60 % 60),
             step < kMinute ? cat(":", two(whole % 60)) : std::string(), " h");
}

}  // namespace

double Axis::place(double value) const {
  if (log) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
  return (value - low) / (high - low);
}

std::string axis_number(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 1000 && size < 1e7 && std::abs(value - std::round(value)) < 1e-9 * size) {
    return with_thousands(value);
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5g", value);
  return text.data();
}

Axis linear_axis(double low, double high, int count, Unit unit, bool round_out) {
  Axis axis;
  // Neither no range at all nor one too small for doubles to count in.
  const double least = std::max({std::abs(low), std::abs(high), 1e-300}) * 1e-9;
  if (!(high - low > least)) {
    // A value that stays is in the middle; nothing is at the bottom.
    constexpr double kAround = 0.05;
    double half = low == 0 ? 1 : std::abs(low) * kAround;
    if (unit != Unit::kNumber) half = std::max(half, 0.5);
    if (unit == Unit::kNumber && low != 0) low -= half;
    high += half;
  }
  const double rough = std::max((high / count - low / count), 1e-300);
  double step = unit == Unit::kSeconds ? nice_seconds(rough) : nice_step(rough);
  if (unit == Unit::kWhole) step = std::max(1.0, step);
  if (round_out) {
    low = std::floor(low / step * (1 + (low < 0 ? 1e-9 : -1e-9))) * step;
    high = std::ceil(high / step * (1 - (high < 0 ? -1e-9 : 1e-9))) * step;
  }
  axis.low = low;
  axis.high = high;
  constexpr int kMost = 100;
  const double first = std::ceil(low / step - 1e-9);
  for (int k = 0; k < kMost; ++k) {
    double value = (first + k) * step;
    if (value > high + step * 1e-6) break;
    if (std::abs(value) < step * 1e-9) value = 0;
    axis.ticks.push_back(value);
    axis.labels.push_back(unit == Unit::kSeconds ? seconds_text(value, step) : axis_number(value));
  }
  return axis;
}

Axis log_axis(double low, double high, int count) {
  Axis axis;
  axis.log = true;
  if (high < low * 1.05) {
    low /= 1.5;
    high *= 1.5;
  }
  axis.low = low;
  axis.high = high;
  const int from = static_cast<int>(std::floor(std::log10(low)));
  const int to = static_cast<int>(std::ceil(std::log10(high)));
  const int every = std::max(1, (to - from) / std::max(1, count));
  const auto add = [&axis](double value) {
    if (value < axis.low * (1 - 1e-9) || value > axis.high * (1 + 1e-9)) return;
    axis.ticks.push_back(value);
    axis.labels.push_back(axis_number(value));
  };
  for (int power = from; power <= to; power += every) {
    const double ten = std::pow(10, power);
    add(ten);
    if (to - from > 3) continue;
    add(2 * ten);
    add(5 * ten);
  }
  // Less than between two of these: as on a linear axis.
  if (axis.ticks.size() < 2) {
    const Axis finer = linear_axis(low, high, count, Unit::kNumber, false);
    axis.ticks = finer.ticks;
    axis.labels = finer.labels;
  }
  return axis;
}

}  // namespace instep::coord
