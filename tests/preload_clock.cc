// A clock that is wrong: for LD_PRELOAD, shifts what a program takes for the time of day by
// $SHIFT_CLOCK_S seconds. Other clocks go on as they do.
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

#include <cstdlib>

namespace {

time_t shift() {
  static const time_t kSeconds = [] {
    const char* text = std::getenv("SHIFT_CLOCK_S");
    return text == nullptr ? 0 : static_cast<time_t>(std::strtoll(text, nullptr, 10));
  }();
  return kSeconds;
}

int real_clock(clockid_t clock, timespec* out) {
  using Call = int (*)(clockid_t, timespec*);
  static const Call kCall = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "clock_gettime"));
  return kCall(clock, out);
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock_id, timespec* tp) noexcept {
  const int result = real_clock(clock_id, tp);
  if (result == 0 && clock_id == CLOCK_REALTIME) tp->tv_sec += shift();
  return result;
}

time_t time(time_t* timer) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (timer != nullptr) *timer = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* tv, void* /*zone*/) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  *tv = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

}  // extern "C"
