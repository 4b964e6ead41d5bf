// How much CPU time a server spends on its container. It runs outside the container's cgroup, so that a reader in a
// loop would take time from the host that no limit counts.
#pragma once
#include <algorithm>

#include "base/types.hpp"

namespace nagaya::procview {

/// A quarter of a processor, after a burst. Times in nanoseconds.
class Budget {
 public:
  static constexpr u64 burst = 250'000'000;
  static constexpr u64 part = 4;

  /// Both clocks as they are now: what to wait before the next request.
  u64 wait(u64 time, u64 used) {
    const i64 spent = static_cast<i64>(used - used_), earned = static_cast<i64>((time - time_) / part);
    credit_ = std::min(credit_ + earned, static_cast<i64>(burst)) - spent;
    time_ = time;
    used_ = used;
    return credit_ >= 0 ? 0 : static_cast<u64>(-credit_) * part;
  }

 private:
  u64 time_ = 0, used_ = 0;
  i64 credit_ = 0;
};

}  // namespace nagaya::procview
