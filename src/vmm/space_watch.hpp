// Decides when a machine that was paused because its host ran out of space should go on. Times are nanoseconds of one clock.
#pragma once
#include <algorithm>

#include "base/types.hpp"

namespace nagaya::vmm {

class SpaceWatch {
 public:
  static constexpr u64 least_space = 1 * MiB;  ///< bytes: with less it is not worth trying
  static constexpr u64 first_wait_ns = 2'000'000'000, longest_wait_ns = 60'000'000'000;

  /// A disk found no space while the host says that `free` bytes are left. True when a person should hear of it: not again
  /// when an attempt of our own failed.
  bool ran_full(u64 now_ns, u64 free) {
    const bool ours = trying_ && now_ns - tried_at_ns_ < longest_wait_ns;
    wait_ns_ = ours ? std::min(wait_ns_ * 2, longest_wait_ns) : first_wait_ns;
    trying_ = false;
    free_ = free;
    next_try_ns_ = now_ns + wait_ns_;
    return !ours;
  }

  /// Whether to try again. Space that was made is taken at once. Where space seems to be there all the time (a quota, a race
  /// with whoever took it), attempts become rarer.
  bool try_again(u64 now_ns, u64 free) {
    if (free != ~u64{0} && free < least_space) return false;
    if (free != ~u64{0} && free >= free_ + least_space) {
      trying_ = false;
      return true;
    }
    if (now_ns < next_try_ns_) return false;
    trying_ = true;
    tried_at_ns_ = now_ns;
    return true;
  }

 private:
  u64 free_ = 0, wait_ns_ = first_wait_ns, next_try_ns_ = 0, tried_at_ns_ = 0;
  bool trying_ = false;
};

}  // namespace nagaya::vmm
