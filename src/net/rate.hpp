// A limit on bytes per second that several threads share.
#pragma once
#include <algorithm>
#include <mutex>

#include "base/types.hpp"

namespace nagaya::net {

/// A token bucket that holds a tenth of a second's worth. A packet may take it below nothing, so that one larger than the
/// bucket passes in the end; the next waits until the debt is paid. Thread-safe. Times are nanoseconds that never go back.
class RateLimit {
 public:
  /// 0: no limit.
  explicit RateLimit(u64 bytes_per_second)
      : rate_(static_cast<double>(bytes_per_second)), burst_(std::max(rate_ / 10, 1.0)), level_(burst_) {}

  [[nodiscard]] bool limits() const { return rate_ != 0; }
  /// Nanoseconds until a packet may pass; 0: now.
  [[nodiscard]] u64 wait(u64 now) {
    if (!limits()) return 0;
    std::lock_guard lock(mutex_);
    fill(now);
    // Rounded up: whoever slept that long finds the bucket filled.
    return level_ > 0 ? 0 : static_cast<u64>(-level_ / rate_ * 1e9) + 1000;
  }
  void take(u64 bytes, u64 now) {
    if (!limits()) return;
    std::lock_guard lock(mutex_);
    fill(now);
    level_ -= static_cast<double>(bytes);
  }

 private:
  void fill(u64 now) {
    if (now > filled_at_ && filled_at_ != 0) level_ = std::min(burst_, level_ + static_cast<double>(now - filled_at_) * 1e-9 * rate_);
    filled_at_ = std::max(now, filled_at_);
  }

  const double rate_, burst_;
  std::mutex mutex_;
  double level_;       // guarded by mutex_
  u64 filled_at_ = 0;  // guarded by mutex_
};

}  // namespace nagaya::net
