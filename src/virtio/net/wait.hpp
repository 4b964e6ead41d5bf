// What one direction of a queue pair waits for.
#pragma once
#include "base/types.hpp"

namespace nagaya::virtio {

enum class NetWait : u8 {
  nothing,  ///< there is more to do
  ring,     ///< the driver: packets to send, buffers to fill
  link,     ///< the other side: room, packets
  time,     ///< the rate
};

}  // namespace nagaya::virtio
