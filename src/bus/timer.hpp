// Time as devices see it: a monotonic virtual clock that stands still while the machine is paused, and one-shot timers on
// it. `machine` supplies the real ones (host timers); tests supply one that is turned by hand.
#pragma once
#include <functional>
#include <memory>

#include "base/types.hpp"

namespace nagaya::bus {

/// A one-shot timer. Its callback runs on the timer thread, never inside arm() or cancel(). cancel() does not wait for
/// a callback that already runs. Destruction waits for it (never destroy a timer inside its callback or under a lock it takes).
class Timer {
 public:
  virtual ~Timer() = default;
  /// Fires once at virtual time `at_ns` (at once when past); replaces an earlier arm.
  virtual void arm(u64 at_ns) = 0;
  virtual void cancel() = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  /// Virtual nanoseconds since the machine began.
  [[nodiscard]] virtual u64 now_ns() const = 0;
  /// Wall clock, nanoseconds since 1970 UTC (for the RTC).
  [[nodiscard]] virtual u64 wall_ns() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> create_timer(std::function<void()> callback) = 0;
};

}  // namespace nagaya::bus
