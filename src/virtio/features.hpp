// Numbers of VIRTIO 1.2: feature bits (6), device status (2.1), device types (5).
#pragma once
#include "base/types.hpp"

namespace nagaya::virtio {

constexpr u64 feature(unsigned bit) { return u64{1} << bit; }

inline constexpr u64 f_indirect = feature(28), f_event_index = feature(29), f_version_1 = feature(32),
                     f_packed = feature(34), f_queue_reset = feature(40);

namespace status {
inline constexpr u8 acknowledge = 1, driver = 2, driver_ok = 4, features_ok = 8, needs_reset = 64, failed = 128;
}

namespace type {
inline constexpr u16 net = 1, blk = 2, console = 3, rng = 4, balloon = 5, vsock = 19, fs = 26, pmem = 27;
}

}  // namespace nagaya::virtio
