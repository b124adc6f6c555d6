// How fast a run goes and how long it will take: pure, on whatever clock the caller has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace instep::coord {

// Events a second, smoothed: older ones count less by e for every `window_s`. It begins with the
// first event, so that a start (cold memory, a round to resume from) is no part of it.
class Rate {
 public:
  explicit Rate(double window_s = 3.0) : window_s_(window_s) {}
  // `total` so far, never falling, at `now_ns`. Returns the rate; 0 before it is known. Between
  // events that come seldom the rate stays; when they stay away, it falls.
  double update(std::uint64_t total, std::int64_t now_ns);
  // Over how much time it has been seen.
  double seconds_seen() const { return seen_s_; }

 private:
  double window_s_;
  std::optional<std::int64_t> then_;
  std::uint64_t total_ = 0;
  double events_ = 0, seconds_ = 0;  // both fading
  double newest_s_ = 0;              // between the two newest updates with events
  double seen_s_ = 0;
};

// The share of its time that an agent computes, over the last seconds.
class Share {
 public:
  // When `round` is done: `waited_s` in all so far. Nothing before it is known.
  std::optional<double> update(std::uint64_t round, double waited_s, std::int64_t now_ns);

 private:
  std::optional<std::int64_t> then_;
  std::uint64_t round_ = 0;
  double waited_then_ = 0;
  double waited_ = 0, seconds_ = 0;  // both fading
  std::optional<double> share_;
};

// Rounds and samples a second of training, without the pauses between epochs of data, and from
// that and the pauses the time left.
class Pace {
 public:
  void plan(double epochs, bool evaluates) {
    epochs_ = epochs;
    evaluates_ = evaluates;
  }
  // An epoch of data has ended, and what is done then (evaluation) took so long.
  void epoch_ended(double data_epoch, double pause_s);
  void rounds_done(std::uint64_t round, std::int64_t now_ns);
  void rounds_planned(double rounds);
  void look(std::uint64_t round, std::uint64_t rounds, std::uint64_t samples, bool evaluating,
            std::int64_t now_ns);

  double samples_per_s() const { return samples_per_s_; }
  // Nothing until it is known.
  std::optional<double> seconds_left(std::int64_t now_ns) const;
  // Whether seconds_left leaves out evaluations, none of which has been seen.
  bool without_evaluations() const { return evaluates_ && !pause_s_; }

 private:
  // Stands still while the run pauses.
  std::int64_t training_ns(std::int64_t now_ns) const;

  double epochs_ = 0, epochs_ended_ = 0;
  bool evaluates_ = false;
  std::optional<double> pause_s_;  // of an epoch, smoothed
  double paused_s_ = 0;
  std::optional<std::int64_t> pausing_since_;
  std::uint64_t round_ = 0, rounds_ = 0;
  Rate rounds_rate_{20.0}, samples_rate_;
  double rounds_per_s_ = 0, samples_per_s_ = 0;
};

// "about 3 min", "a few seconds".
std::string about(double seconds);

}  // namespace instep::coord
