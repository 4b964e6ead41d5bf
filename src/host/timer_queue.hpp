// Many one-shot timers on one thread: a heap ordered by deadline, and a thread that sleeps until the first. Times are
// CLOCK_MONOTONIC nanoseconds.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/types.hpp"

namespace nagaya::host {

[[nodiscard]] u64 monotonic_ns();
[[nodiscard]] u64 wall_clock_ns();

class TimerQueue {
 public:
  /// One timer; arm and cancel from any thread, also from its own callback. Destruction waits for a running callback.
  class Timer {
   public:
    Timer(TimerQueue& queue, std::function<void()> callback);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    void arm(u64 at_ns);
    void cancel();

   private:
    friend class TimerQueue;
    TimerQueue& queue_;
    std::function<void()> callback_;
    u64 at_ns_ = 0;       // guarded by queue_.mutex_
    bool armed_ = false;  // guarded by queue_.mutex_
  };

  explicit TimerQueue(const std::string& thread_name = "timers");
  ~TimerQueue();
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  /// Waits until no callback runs. Not from a callback.
  void wait_idle();

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::set<std::pair<u64, Timer*>> armed_;  // guarded by mutex_
  Timer* running_ = nullptr;                // guarded by mutex_
  bool stop_ = false;                       // guarded by mutex_
  std::jthread thread_;
};

}  // namespace nagaya::host
