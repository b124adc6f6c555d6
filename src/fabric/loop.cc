#include "fabric/loop.h"

#include <csignal>
#include <utility>

#include "base/result.h"
#include "fabric/loop_state.h"

namespace instep::fabric {

struct Timer::State {
  asio::steady_timer timer;
  std::function<void()> due;
};

namespace {

// What a timer calls may hold what holds the timer, so it is let go of when its turn cannot come
// any more; through a local, since that may end in the same place again.
struct Wait {
  explicit Wait(std::shared_ptr<Timer::State> state) : timer(std::move(state)) {}
  Wait(Wait&&) noexcept = default;
  ~Wait() {
    if (timer) const auto dropped = std::exchange(timer->due, nullptr);
  }
  void operator()(const asio::error_code&) const {
    if (const auto call = std::exchange(timer->due, nullptr)) call();
  }

  std::shared_ptr<Timer::State> timer;
};

}  // namespace

Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

void Timer::cancel() {
  const auto state = std::exchange(state_, nullptr);
  if (!state) return;
  // One that has run out may be queued already: without a function it does nothing.
  const auto dropped = std::exchange(state->due, nullptr);
  state->timer.cancel();
}

Loop::Loop() : state_(std::make_unique<State>()) {}

Loop::~Loop() {
  stop();
  join();
}

void Loop::start() {
  // Signals are for the program's own threads: one that this thread took would end the program.
  sigset_t all{}, before{};
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->thread = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Loop::run() {
  state_->runner = std::this_thread::get_id();
  state_->io.run();
  state_->runner = std::thread::id();
}

void Loop::post(std::function<void()> work) { asio::post(state_->io, std::move(work)); }
void Loop::stop() { state_->io.stop(); }
void Loop::join() {
  if (state_->thread.joinable()) state_->thread.join();
}

Timer Loop::after(std::int64_t milliseconds, std::function<void()> due) {
  INSTEP_CHECK(here(), "a timer is set in its loop's thread");
  auto timer = std::make_shared<Timer::State>(Timer::State{
      asio::steady_timer(state_->io, std::chrono::milliseconds(milliseconds)), std::move(due)});
  timer->timer.async_wait(Wait(timer));
  return Timer(std::move(timer));
}

bool Loop::here() const { return state_->here(); }

}  // namespace instep::fabric
