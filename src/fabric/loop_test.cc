#include "fabric/loop.h"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>

namespace instep::fabric {
namespace {

TEST(Loop, RunsWhatIsPostedInOrderInItsOwnThread) {
  Loop loop;
  std::string order;
  std::promise<std::thread::id> done;
  loop.post([&] { order += 'a'; });
  loop.start();
  loop.post([&] {
    order += 'b';
    EXPECT_TRUE(loop.here());
    done.set_value(std::this_thread::get_id());
  });
  EXPECT_NE(done.get_future().get(), std::this_thread::get_id());
  EXPECT_EQ(order, "ab");
  EXPECT_FALSE(loop.here());
  loop.stop();
  loop.join();
  EXPECT_TRUE(loop.here());
}

TEST(Loop, RunsInTheCallersThreadUntilItIsStopped) {
  Loop loop;
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_TRUE(loop.here());
}

TEST(Loop, ATimerThatIsCancelledOrLetGoOfDoesNotCome) {
  Loop loop;
  std::string order;
  Timer cancelled = loop.after(0, [&] { order += 'x'; });
  Timer replaced = loop.after(0, [&] { order += 'y'; });
  {
    const Timer gone = loop.after(0, [&] { order += 'z'; });
  }
  const Timer kept = loop.after(0, [&] { order += 'a'; });
  const Timer last = loop.after(1, [&] {
    order += 'b';
    loop.stop();
  });
  cancelled.cancel();
  replaced = Timer();
  loop.run();
  EXPECT_EQ(order, "ab");
}

// Two timers that have both run out: the first to come cancels the other.
TEST(Loop, ATimerThatHasRunOutCanStillBeCancelled) {
  Loop loop;
  int came = 0;
  Timer a, b;
  a = loop.after(0, [&] { ++came, b.cancel(), loop.post([&] { loop.stop(); }); });
  b = loop.after(0, [&] { ++came, a.cancel(), loop.post([&] { loop.stop(); }); });
  loop.run();
  EXPECT_EQ(came, 1);
}

// What a timer would have called may hold what holds the timer.
TEST(Loop, ALoopThatEndsLetsGoOfWhatTimersHold) {
  struct Holder {
    Timer timer;
  };
  std::weak_ptr<Holder> watch;
  {
    Loop loop;
    const auto holder = std::make_shared<Holder>();
    watch = holder;
    holder->timer = loop.after(1'000'000, [holder] {});
  }
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace instep::fabric
