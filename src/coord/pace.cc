#include "coord/pace.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace instep::coord {
namespace {

double seconds_between(std::int64_t then_ns, std::int64_t now_ns) {
  return static_cast<double>(now_ns - then_ns) * 1e-9;
}

}  // namespace

double Rate::update(std::uint64_t total, std::int64_t now_ns) {
  if (!then_) {
    if (total == 0) return 0;
    then_ = now_ns;
    total_ = total;
    return 0;
  }
  // A clock that was put back takes back what it gave too much.
  const double passed = seconds_between(*then_, now_ns);
  const double keep = std::exp(-std::max(0.0, passed) / window_s_);
  if (total > total_) {
    events_ = events_ * keep + static_cast<double>(total - total_);
    seconds_ = seconds_ * keep + passed;
    newest_s_ = passed;
    seen_s_ += passed;
    then_ = now_ns;
    total_ = total;
    return seconds_ > 0 ? events_ / seconds_ : 0;
  }
  if (seconds_ <= 0) return 0;
  constexpr double kUsual = 2;  // times the newest interval: no news is no bad news yet
  if (passed <= kUsual * newest_s_) return events_ / seconds_;
  return events_ * keep / (seconds_ * keep + passed);
}

std::optional<double> Share::update(std::uint64_t round, double waited_s, std::int64_t now_ns) {
  if (round == round_) return share_;
  if (then_) {
    constexpr double kWindow = 3;
    const double passed = seconds_between(*then_, now_ns);
    if (passed <= 0) return share_;
    const double keep = std::exp(-passed / kWindow);
    waited_ = waited_ * keep + std::max(0.0, waited_s - waited_then_);
    seconds_ = seconds_ * keep + passed;
    share_ = std::clamp(1 - waited_ / seconds_, 0.0, 1.0);
  }
  then_ = now_ns;
  round_ = round;
  waited_then_ = waited_s;
  return share_;
}

void Pace::epoch_ended(double data_epoch, double pause_s) {
  epochs_ended_ = std::max(epochs_ended_, data_epoch);
  pause_s = std::max(0.0, pause_s);
  paused_s_ += pause_s;
  pausing_since_.reset();
  pause_s_ = pause_s_ ? (*pause_s_ + pause_s) / 2 : pause_s;
}

std::int64_t Pace::training_ns(std::int64_t now_ns) const {
  return std::min(now_ns, pausing_since_.value_or(now_ns)) -
         static_cast<std::int64_t>(paused_s_ * 1e9);
}

void Pace::rounds_done(std::uint64_t round, std::int64_t now_ns) {
  round_ = std::max(round_, round);
  rounds_per_s_ = rounds_rate_.update(round, training_ns(now_ns));
}

void Pace::rounds_planned(double rounds) {
  constexpr double kMost = 1e18;
  if (rounds >= 1 && rounds < kMost) {
    rounds_ = std::max(rounds_, static_cast<std::uint64_t>(std::llround(rounds)));
  }
}

void Pace::look(std::uint64_t round, std::uint64_t rounds, std::uint64_t samples, bool evaluating,
                std::int64_t now_ns) {
  if (!evaluating) {
    pausing_since_.reset();
  } else if (!pausing_since_) {
    pausing_since_ = now_ns;
  }
  rounds_ = std::max(rounds_, rounds);
  rounds_done(round, now_ns);
  samples_per_s_ = samples_rate_.update(samples, training_ns(now_ns));
}

std::optional<double> Pace::seconds_left(std::int64_t now_ns) const {
  constexpr double kEnough = 2;  // seconds of training seen
  if (rounds_ <= round_ || rounds_per_s_ <= 0 || rounds_rate_.seconds_seen() < kEnough) return {};
  double left = static_cast<double>(rounds_ - round_) / rounds_per_s_;
  if (pause_s_) left += *pause_s_ * std::max(0.0, epochs_ - epochs_ended_);
  if (pausing_since_) {
    left -= std::min(pause_s_.value_or(0), seconds_between(*pausing_since_, now_ns));
  }
  return std::max(0.0, left);
}

std::string about(double seconds) {
  constexpr double kMinute = 60;
  constexpr double kHour = 3600;
  constexpr double kDay = 86400;
  const auto rounded = [](double value, double step) { return std::round(value / step) * step; };
  if (seconds < 7.5) return "a few seconds";
  if (seconds < 97.5) return cat("about ", number(rounded(seconds, 5), 0), " s");
  if (seconds < 95 * kMinute)
    return cat("about ", number(std::round(seconds / kMinute), 0), " min");
  if (seconds < 10 * kHour) return cat("about ", number(rounded(seconds / kHour, 0.5), 1), " h");
  if (seconds < 2 * kDay) return cat("about ", number(std::round(seconds / kHour), 0), " h");
  constexpr double kMost = 10000;
  if (seconds > kMost * kDay) return "years";
  return cat("about ", number(std::round(seconds / kDay), 0), " days");
}

}  // namespace instep::coord
