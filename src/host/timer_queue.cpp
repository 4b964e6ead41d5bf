#include "host/timer_queue.hpp"

#include <chrono>
#include <ctime>

#include "host/thread.hpp"

namespace nagaya::host {
namespace {

u64 read_clock(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace

u64 monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
u64 wall_clock_ns() { return read_clock(CLOCK_REALTIME); }

TimerQueue::Timer::Timer(TimerQueue& queue, std::function<void()> callback)
    : queue_(queue), callback_(std::move(callback)) {}

TimerQueue::Timer::~Timer() {
  cancel();
  std::unique_lock lock(queue_.mutex_);
  queue_.idle_.wait(lock, [&] { return queue_.running_ != this; });
  if (armed_) queue_.armed_.erase({at_ns_, this});  // its last callback armed it again
}

void TimerQueue::Timer::arm(u64 at_ns) {
  const std::lock_guard lock(queue_.mutex_);
  if (armed_) queue_.armed_.erase({at_ns_, this});
  armed_ = true;
  at_ns_ = at_ns;
  queue_.armed_.insert({at_ns_, this});
  if (queue_.armed_.begin()->second == this) queue_.wake_.notify_one();
}

void TimerQueue::Timer::cancel() {
  const std::lock_guard lock(queue_.mutex_);
  if (armed_) queue_.armed_.erase({at_ns_, this});
  armed_ = false;
}

TimerQueue::TimerQueue(const std::string& thread_name) { thread_ = start_thread(thread_name, [this] { loop(); }); }

TimerQueue::~TimerQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
}

void TimerQueue::wait_idle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return running_ == nullptr; });
}

void TimerQueue::loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (armed_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const auto [at, timer] = *armed_.begin();
    const u64 now = monotonic_ns();
    if (at > now) {
      // Far deadlines are cut to an hour, so that no arithmetic of the clock overflows. steady_clock is CLOCK_MONOTONIC.
      const u64 sleep = std::min<u64>(at - now, 3'600'000'000'000);
      wake_.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(now + sleep)));
      continue;
    }
    armed_.erase(armed_.begin());
    timer->armed_ = false;
    running_ = timer;
    lock.unlock();
    timer->callback_();
    lock.lock();
    running_ = nullptr;
    idle_.notify_all();
  }
}

}  // namespace nagaya::host
