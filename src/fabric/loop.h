// A thread that waits for sockets and timers and runs what is posted to it. Links, listeners and
// timers are made on a loop and belong to its thread: their methods are called there, and what they
// call back is called there, one at a time, so none of them has a lock. A loop outlives all that
// was made on it; what has not run when it ends never does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace instep::fabric {

// A call that is still to come. Destroyed or cancelled, it does not come.
class Timer {
 public:
  struct State;

  Timer() = default;
  explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Timer() { cancel(); }
  Timer(Timer&&) noexcept = default;
  Timer& operator=(Timer&& other) noexcept;
  void cancel();

 private:
  std::shared_ptr<State> state_;
};

class Loop {
 public:
  struct State;

  Loop();
  ~Loop();  // stop() and join()
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Either start(), which makes a thread, or run() in a thread of the caller's until stop().
  void start();
  void run();

  // From any thread.
  void post(std::function<void()> work);
  void stop();
  // Waits for start()'s thread to end.
  void join();

  [[nodiscard]] Timer after(std::int64_t milliseconds, std::function<void()> due);

  // Whether the caller may use what belongs to the loop: it is the loop's thread, or nobody is.
  bool here() const;

  State& state() { return *state_; }  // for this folder

 private:
  std::unique_ptr<State> state_;
};

}  // namespace instep::fabric
