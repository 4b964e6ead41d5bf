// A leaky bucket without a clock of its own.
#pragma once
#include <algorithm>

#include "block/throttle.hpp"

namespace nagaya::block {

/// Fills with `rate` units a second up to `burst`. One taker may take it below nothing, so that a request larger than
/// the burst passes in the end; the next waits until the debt is paid.
class Bucket {
 public:
  explicit Bucket(Limit limit)
      : rate_(static_cast<double>(limit.rate)),
        burst_(limit.burst != 0 ? static_cast<double>(limit.burst) : std::max(rate_ / 10, 1.0)),
        level_(burst_) {}

  /// Seconds until something may be taken; 0: now. `now` is in seconds and never goes back.
  [[nodiscard]] double wait(double now) const {
    if (rate_ == 0) return 0;
    const double level = level_at(now);
    // Less than a millionth of a unit is a rounding error, not a lack.
    return level > 1e-6 ? 0 : (1e-6 - level) / rate_ + 1e-9;
  }
  void take(double units, double now) {
    if (rate_ == 0) return;
    level_ = level_at(now) - units;
    since_ = now;
  }

 private:
  [[nodiscard]] double level_at(double now) const {
    return since_ < 0 ? level_ : std::min(burst_, level_ + (now - since_) * rate_);
  }

  double rate_, burst_, level_;
  double since_ = -1;  // of level_; negative: nothing taken yet
};

}  // namespace nagaya::block
