#include "machine/clock.hpp"

#include <gtest/gtest.h>

#include <condition_variable>

namespace nagaya::machine {
namespace {

/// Counts timer calls and can wait for them.
struct Calls {
  void operator()() {
    const std::lock_guard lock(mutex);
    ++count;
    changed.notify_all();
  }
  void wait_for(int wanted) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return count >= wanted; });
  }
  int now() {
    const std::lock_guard lock(mutex);
    return count;
  }
  std::mutex mutex;
  std::condition_variable changed;
  int count = 0;
};

TEST(MachineClock, StandsUntilResumed) {
  MachineClock clock;
  EXPECT_EQ(clock.now_ns(), 0u);
  clock.set_now(5'000'000'000);
  EXPECT_EQ(clock.now_ns(), 5'000'000'000u);
  clock.resume();
  const u64 running = clock.now_ns();
  EXPECT_GE(running, 5'000'000'000u);
  clock.pause();
  const u64 frozen = clock.now_ns();
  EXPECT_GE(frozen, running);
  EXPECT_EQ(clock.now_ns(), frozen);
  clock.set_now(frozen + 1);
  EXPECT_EQ(clock.now_ns(), frozen + 1);
}

TEST(MachineClock, TimersWaitWhilePaused) {
  MachineClock clock;
  Calls calls;
  auto timer = clock.create_timer([&] { calls(); });
  timer->arm(1);
  EXPECT_EQ(calls.now(), 0);
  clock.set_now(100);
  clock.resume();
  calls.wait_for(1);
  clock.pause();
  timer->arm(0);
  EXPECT_EQ(calls.now(), 1);
  timer->cancel();
  clock.resume();
  auto second = clock.create_timer([&] { calls(); });
  second->arm(clock.now_ns());
  calls.wait_for(2);
  EXPECT_EQ(calls.now(), 2);  // the cancelled one never came: it was due before the second
}

TEST(MachineClock, ATimerMayArmItself) {
  MachineClock clock;
  Calls calls;
  std::unique_ptr<bus::Timer> timer;
  timer = clock.create_timer([&] {
    calls();
    if (calls.now() < 3) timer->arm(0);
  });
  clock.resume();
  timer->arm(0);
  calls.wait_for(3);
  clock.pause();
  EXPECT_EQ(calls.now(), 3);
}

TEST(MachineClock, DeadlinesThatNeverComeAreHarmless) {
  MachineClock clock;
  Calls calls;
  clock.resume();
  auto never = clock.create_timer([&] { calls(); });
  never->arm(~u64{0});
  auto soon = clock.create_timer([&] { calls(); });
  soon->arm(0);
  calls.wait_for(1);
  EXPECT_EQ(calls.now(), 1);
}

TEST(MachineClock, ARestoredMachineMayBeOlderThanItsHost) {
  MachineClock clock;
  clock.set_now(u64{1} << 62);
  clock.resume();
  EXPECT_GE(clock.now_ns(), u64{1} << 62);
  Calls calls;
  auto timer = clock.create_timer([&] { calls(); });
  timer->arm((u64{1} << 62) + 1000);
  calls.wait_for(1);
}

}  // namespace
}  // namespace nagaya::machine
