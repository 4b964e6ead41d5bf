// The machine's time: CLOCK_MONOTONIC less all the time it stood still. Paused, it stands and no timer fires.
#pragma once
#include <memory>
#include <mutex>
#include <set>

#include "bus/timer.hpp"
#include "host/timer_queue.hpp"

namespace nagaya::machine {

/// Begins paused at 0.
class MachineClock final : public bus::Clock {
 public:
  MachineClock();
  ~MachineClock() override;

  [[nodiscard]] u64 now_ns() const override;
  [[nodiscard]] u64 wall_ns() const override;
  [[nodiscard]] std::unique_ptr<bus::Timer> create_timer(std::function<void()> callback) override;

  /// Time stands; returns when no callback runs any more. Not from a callback.
  void pause();
  void resume();
  /// Only while paused: what now_ns() says from here on (a restored machine goes on where it was).
  void set_now(u64 ns);

 private:
  class VirtualTimer;
  [[nodiscard]] u64 now_locked() const;
  void schedule(VirtualTimer& timer);

  mutable std::mutex mutex_;
  bool paused_ = true;               // guarded by mutex_
  u64 frozen_ns_ = 0;                // virtual time while paused; guarded by mutex_
  u64 origin_ns_ = 0;                // host time of virtual 0 while running; guarded by mutex_
  std::set<VirtualTimer*> timers_;   // guarded by mutex_
  host::TimerQueue queue_{"clock"};  // last: its thread ends first
};

}  // namespace nagaya::machine
