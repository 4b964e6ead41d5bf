#include "devices/debug_exit.hpp"

#include <algorithm>

#include "bus/bytes.hpp"

namespace nagaya::devices {

void DebugExit::io_read(u64, std::span<u8> data) { std::ranges::fill(data, u8{0}); }

void DebugExit::io_write(u64, std::span<const u8> data) {
  if (exit_) exit_(static_cast<u32>(bus::load_le(data)) << 1 | 1);
}

}  // namespace nagaya::devices
