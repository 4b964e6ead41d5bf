// Limits on a disk's requests a second and bytes a second, each with a burst.
#pragma once
#include <memory>

#include "block/disk.hpp"

namespace nagaya::block {

/// A leaky bucket: `rate` units a second, and up to `burst` units at once after a pause. 0 as rate: no limit; 0 as
/// burst: what a tenth of a second gives.
struct Limit {
  u64 rate = 0;
  u64 burst = 0;
};

struct ThrottleLimits {
  Limit iops, read_iops, write_iops;  ///< requests a second: all, reads, and changes (writes, discards, zeroes)
  Limit bps, read_bps, write_bps;     ///< bytes a second, likewise
  [[nodiscard]] bool any() const {
    return iops.rate || read_iops.rate || write_iops.rate || bps.rate || read_bps.rate || write_bps.rate;
  }
};

/// Wraps a disk. Flushes are never held back.
std::unique_ptr<Disk> throttle(std::unique_ptr<Disk> disk, const ThrottleLimits& limits);

}  // namespace nagaya::block
