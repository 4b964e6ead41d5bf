// Numbers of the device's queues, and of our ports.
#pragma once
#include "base/types.hpp"

namespace nagaya::virtio::vsock {

inline constexpr unsigned receive_queue = 0, transmit_queue = 1, event_queue = 2;  // as the driver sees them
/// Ports of connections that the host begins; guests' own services on the host are below.
inline constexpr u32 first_port = 0x4000'0000;
/// Resets that wait for room; while there are more, packets of the guest wait.
inline constexpr unsigned most_replies = 256;

}  // namespace nagaya::virtio::vsock
